using DiTRuntime.Serving;

namespace DiTRuntime.Tests.Serving;

/// <summary>The page in a real browser, with the digit model behind it.</summary>
[TestFixture]
internal sealed class PageTests
{
    private const string Finished = ".card-actions:not(.waiting)";

    private PageBrowser _browser = null!;
    private ServerFixture _server = null!;

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _browser = await PageBrowser.LaunchAsync();
        _server = await ServerFixture.StartAsync();
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (_server is not null) await _server.DisposeAsync();
        if (_browser is not null) await _browser.DisposeAsync();
    }

    [TearDown]
    public void LetGo()
    {
        _server.BeforePass = null;
        _server.Release();
    }

    [Test]
    public async Task An_image_is_made_with_the_keyboard_alone()
    {
        await using var tab = await OpenAsync();
        await tab.TabToAsync("#class-search");
        await tab.TypeAsync("7");
        await tab.SeesAsync("[role=listbox]");
        await Assert.MultipleAsync(async () =>
        {
            Assert.That(await tab.ValueAsync<string>("document.activeElement.getAttribute('aria-expanded')"), Is.EqualTo("true"));
            Assert.That(await tab.ValueAsync<string>("document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).innerText"), Does.StartWith("Class 7"));
        });
        await tab.PressAsync("Enter");
        Assert.That(await tab.TextAsync("#chips"), Is.EqualTo("Class 7"));
        await tab.TabToAsync("#steps");
        await tab.ReplaceAsync("20");
        await tab.TabToAsync("#seed");
        await tab.TypeAsync("11");
        await tab.PressAsync("Enter");
        await tab.SeesAsync(Finished);
        await Assert.MultipleAsync(async () =>
        {
            Assert.That(await tab.TextAsync(".card-text"), Is.EqualTo("Class 7\nseed 11\n20 steps · scale 4 · DDIM"));
            Assert.That(await tab.ValueAsync<int>("document.querySelector('.card-image img').naturalWidth"), Is.EqualTo(32));
            Assert.That(await tab.ValueAsync<string>("getComputedStyle(document.querySelector('.card-image img')).imageRendering"), Is.EqualTo("pixelated"));
        });

        // In the place of the machine's clipboard, which other programs share.
        await tab.Page.EvaluateExpressionAsync("navigator.clipboard.writeText = async text => { window.copied = text; }");
        var folder = Directory.CreateTempSubdirectory("dit-page-");
        try
        {
            await tab.Page.Client.SendAsync("Browser.setDownloadBehavior", new Dictionary<string, object> { ["behavior"] = "allow", ["downloadPath"] = folder.FullName, ["browserContextId"] = tab.Page.BrowserContext.Id });
            await tab.TabToAsync("[aria-label^='Copy the link']");
            await tab.PressAsync("Enter");
            await tab.SeesAsync(".notice");
            Assert.That(await tab.TextAsync(".notice"), Is.EqualTo("Link copied"));
            var link = new Uri(await tab.ValueAsync<string>("copied"));
            await tab.TabToAsync("[aria-label^=Download]");
            await tab.PressAsync("Enter");
            var file = Path.Combine(folder.FullName, "class-7-11.png");
            Assert.That(() => File.Exists(file), Is.True.After(60_000, 50));
            await Assert.MultipleAsync(async () =>
            {
                Assert.That(link.AbsolutePath, Is.EqualTo("/v1/images"));
                Assert.That(await File.ReadAllBytesAsync(file), Is.EqualTo(await _server.Client.GetByteArrayAsync(link)));
                Assert.That(await File.ReadAllBytesAsync(file), Is.EqualTo(await _server.Client.GetByteArrayAsync("/v1/images?class=7&seed=11&steps=20")));
            });
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        ThereIsNothingElse(tab);
    }

    [Test]
    public async Task Progress_shows_while_images_are_made()
    {
        await using var tab = await OpenAsync();
        await tab.Page.EvaluateExpressionAsync("""
            const seen = new Set();
            new MutationObserver(() => {
              for (const text of document.querySelectorAll('.activity-text')) seen.add(text.textContent.replace(/\d+/g, 'N').replace(/ ·.*/, ''));
              if (document.querySelector('progress[value]')?.value > 0) seen.add('bar');
              if (document.querySelector('img.preview')) seen.add('preview');
              seen.add(document.getElementById('announcer').textContent);
              document.documentElement.dataset.seen = [...seen].join('|');
            }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
            """);
        await tab.ClickAsync(".pick[value='3']");
        await tab.ClickAsync(".pick[value='5']");
        await SetAsync(tab, "#steps", "100");
        var passes = 0;
        // So that there is time to look; the pass after this one waits.
        _server.BeforePass = () =>
        {
            if (passes == 59) _server.Hold();
            Volatile.Write(ref passes, passes + 1);
        };
        await tab.ClickAsync("#generate");
        await ServerFixture.UntilAsync(() => Volatile.Read(ref passes) == 60);
        await tab.UntilAsync("['Step N of N', 'bar', 'preview', 'Class 3 and Class 5: started'].every(part => document.documentElement.dataset.seen?.split('|').includes(part))");
        _server.Release();
        await tab.UntilAsync($"document.querySelectorAll('{Finished}').length === 2");
        await Assert.MultipleAsync(async () =>
        {
            Assert.That(await tab.ValueAsync<int>("document.querySelectorAll('.activity-row, img.preview').length"), Is.Zero);
            Assert.That(await tab.TextAsync("#seed-hint"), Does.Match(@"^Drawn: \d+ Keep$"));
        });
        ThereIsNothingElse(tab);
    }

    [Test]
    public async Task What_is_under_way_can_be_cancelled()
    {
        await using var tab = await OpenAsync();
        await tab.ClickAsync(".pick[value='1']");
        await SetAsync(tab, "#n", "10");
        await SetAsync(tab, "#steps", "1000");
        await tab.PressAsync("Enter");
        await tab.UntilAsync("document.querySelector('progress[value]')?.value > 0");
        Assert.That(await tab.ValueAsync<int>("document.querySelectorAll('.card').length"), Is.EqualTo(10));
        await tab.ClickAsync("[aria-label^=Cancel]");
        await tab.UntilAsync("document.querySelectorAll('.card, .activity-row').length === 0");
        var jobs = await _server.GetJsonAsync("/v1/jobs?limit=1");
        await Assert.MultipleAsync(async () =>
        {
            Assert.That(jobs.GetProperty("data")[0].GetProperty("status").GetString(), Is.EqualTo("cancelled"));
            Assert.That(await tab.ValueAsync<bool>("document.getElementById('empty').hidden"), Is.False);
        });
        ThereIsNothingElse(tab);
    }

    [Test]
    public async Task Many_jobs_at_once_leave_the_page_a_connection_to_cancel_them()
    {
        const int jobs = 8;
        await using var tab = await OpenAsync();
        await tab.ClickAsync(".pick[value='1']");
        await SetAsync(tab, "#n", "10");
        await SetAsync(tab, "#steps", "1000");
        for (var i = 1; i <= jobs; i++)
        {
            await tab.ClickAsync("#generate");
            await tab.UntilAsync($"document.querySelectorAll('.activity-row').length === {i}");
        }

        await tab.Page.EvaluateExpressionAsync("document.querySelectorAll('[aria-label^=Cancel]').forEach(button => button.click())");
        await tab.UntilAsync("document.querySelectorAll('.card, .activity-row').length === 0");
        ThereIsNothingElse(tab);
    }

    [Test]
    public async Task An_image_opens_with_its_settings_and_they_can_be_used_again()
    {
        await using var tab = await OpenAsync();
        await tab.ClickAsync(".pick[value='2']");
        await tab.ClickAsync(".pick[value='4']");
        await SetAsync(tab, "#steps", "10");
        await SetAsync(tab, "#guidance", "2.5");
        await SetAsync(tab, "#seed", "9223372036854775800");
        await tab.ClickAsync("#generate");
        await tab.SeesAsync(Finished);
        await tab.ClickAsync(".card-image");
        await tab.PressAsync("ArrowRight");
        Assert.That(await tab.TextAsync("#viewer-facts"), Does.Contain("9223372036854775801").And.Contain("2.5").And.Contain("DDIM, η 0"));
        await tab.PressAsync("Escape");
        await tab.UntilAsync("!document.getElementById('viewer').open");
        await tab.PressAsync("Enter");
        await tab.Page.EvaluateExpressionAsync("navigator.clipboard.writeText = async () => { throw new Error('denied'); }");
        await tab.ClickAsync("#viewer-actions .button:nth-child(2)");
        Assert.That(await tab.ValueAsync<string>("document.querySelector('.notice input').value"), Does.EndWith("&seed=9223372036854775800&steps=10&guidance_scale=2.5&sampler=ddim&eta=0&spacing=leading"));
        await tab.ClickAsync("#viewer-actions .primary");
        await Assert.MultipleAsync(async () =>
        {
            Assert.That(await tab.TextAsync("#chips"), Is.EqualTo("Class 2"));
            Assert.That(await tab.ValueAsync<string>("document.getElementById('seed').value"), Is.EqualTo("9223372036854775800"));
            Assert.That(await tab.ValueAsync<string>("document.getElementById('guidance').value"), Is.EqualTo("2.5"));
            Assert.That(await tab.ValueAsync<string>("document.getElementById('n').value"), Is.EqualTo("1"));
        });
        ThereIsNothingElse(tab);
    }

    [Test]
    public async Task Mistakes_are_told_where_they_are()
    {
        await using var tab = await OpenAsync();
        await SetAsync(tab, "#steps", "0");
        await tab.PressAsync("Enter");
        await Assert.MultipleAsync(async () =>
        {
            Assert.That(await tab.TextAsync("#class-error"), Is.EqualTo("Pick a class first."));
            Assert.That(await tab.TextAsync("#steps-error"), Is.EqualTo("A whole number from 1 to 1000."));
            Assert.That(await tab.ValueAsync<string>("document.activeElement.id"), Is.EqualTo("class-search"));
            Assert.That(await tab.ValueAsync<string>("document.getElementById('steps').getAttribute('aria-invalid')"), Is.EqualTo("true"));
        });
        await tab.TypeAsync("no such class");
        await tab.SeesAsync(".option-note");
        await tab.PressAsync("Escape");
        await tab.UntilAsync("document.getElementById('class-list').hidden");
        ThereIsNothingElse(tab);
    }

    [Test]
    public async Task A_key_is_asked_for_where_the_service_wants_one()
    {
        await using var server = await ServerFixture.StartAsync(new ServerOptions { ApiKeys = ["open-sesame"] });
        await using var tab = await _browser.OpenAsync(server.Address);
        await tab.SeesAsync("#key-dialog[open]");
        await tab.PressAsync("Escape");
        await tab.SeesAsync("#banner-key");
        Assert.That(await tab.TextAsync("#banner-text"), Is.EqualTo("This service asks for an API key."));
        await tab.ClickAsync("#banner-key");
        await tab.SeesAsync("#key-dialog[open]");
        await tab.TypeAsync("wrong");
        await tab.PressAsync("Enter");
        await tab.UntilAsync("document.getElementById('key-error').textContent === 'The service does not know this key.'");
        await tab.TypeAsync("open-sesame");
        await tab.PressAsync("Enter");
        await tab.ReadyAsync();
        await tab.ClickAsync(".pick[value='6']");
        await SetAsync(tab, "#steps", "10");
        await SetAsync(tab, "#seed", "1");
        await tab.PressAsync("Enter");
        await tab.SeesAsync(Finished);
        await Assert.MultipleAsync(async () =>
        {
            Assert.That(await tab.ValueAsync<string>("sessionStorage.getItem('dit-api-key')"), Is.EqualTo("open-sesame"));
            Assert.That(await tab.ValueAsync<int>("localStorage.length"), Is.Zero);
            Assert.That(await tab.ValueAsync<string>("location.href"), Does.Not.Contain("sesame"));
            Assert.That(tab.Problems, Has.All.Contains("401"));
            Assert.That(tab.Hosts, Is.EqualTo(new[] { server.Address.Authority }));
        });
    }

    [TestCase("light")]
    [TestCase("dark")]
    public async Task Nothing_is_wider_than_a_phone(string scheme)
    {
        await using var tab = await _browser.OpenAsync(_server.Address, 360, scheme);
        await tab.ReadyAsync();
        Assert.That(await tab.ScrollsSidewaysAsync(), Is.False, "at the start");
        await tab.ClickAsync("#class-search");
        await tab.SeesAsync("[role=option]");
        Assert.That(await tab.ScrollsSidewaysAsync(), Is.False, "with the list open");
        await tab.PressAsync("Escape");
        foreach (var digit in new[] { 0, 1, 2 }) await tab.ClickAsync($".pick[value='{digit}']");
        await SetAsync(tab, "#steps", "10");
        await SetAsync(tab, "#seed", "9223372036854775800");
        await tab.PressAsync("Enter");
        await tab.UntilAsync($"document.querySelectorAll('{Finished}').length === 3");
        Assert.That(await tab.ScrollsSidewaysAsync(), Is.False, "with images");
        await tab.ClickAsync(".card-image");
        await tab.SeesAsync("#viewer[open]");
        await Assert.MultipleAsync(async () =>
        {
            Assert.That(await tab.ScrollsSidewaysAsync(), Is.False, "with an image open");
            Assert.That(await tab.ValueAsync<bool>("document.getElementById('viewer').scrollWidth > document.getElementById('viewer').clientWidth"), Is.False, "inside it");
        });
        ThereIsNothingElse(tab);
    }

    [Test]
    public async Task The_page_comes_back_with_the_settings_of_its_address()
    {
        await using var tab = await _browser.OpenAsync(new Uri(_server.Address, "#class=8,3&n=4&steps=30&guidance_scale=1.5&sampler=ddpm&eta=7&seed=5"));
        await tab.ReadyAsync();
        await Assert.MultipleAsync(async () =>
        {
            Assert.That(await tab.TextAsync("#chips"), Is.EqualTo("Class 8\nClass 3"));
            Assert.That(await tab.ValueAsync<string[]>("['n', 'steps', 'guidance', 'sampler', 'seed', 'eta'].map(id => document.getElementById(id).value)"), Is.EqualTo(new[] { "4", "30", "1.5", "ddpm", "5", "0" }));
        });
        ThereIsNothingElse(tab);
    }

    private async Task<BrowserTab> OpenAsync()
    {
        var tab = await _browser.OpenAsync(_server.Address);
        await tab.ReadyAsync();
        return tab;
    }

    private static async Task SetAsync(BrowserTab tab, string selector, string text)
    {
        await tab.Page.FocusAsync(selector);
        await tab.ReplaceAsync(text);
    }

    private void ThereIsNothingElse(BrowserTab tab) => Assert.Multiple(() =>
    {
        Assert.That(tab.Problems, Is.Empty, "the console");
        Assert.That(tab.Hosts, Is.EqualTo(new[] { _server.Address.Authority }), "hosts");
    });
}
