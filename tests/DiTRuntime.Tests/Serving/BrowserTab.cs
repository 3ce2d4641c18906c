using System.Collections.Concurrent;
using PuppeteerSharp;

namespace DiTRuntime.Tests.Serving;

/// <summary>A tab of the browser: what a person does with it, what they see, and what goes on behind it.</summary>
/// <param name="context">The tab's session.</param>
/// <param name="page">The tab.</param>
internal sealed class BrowserTab(IBrowserContext context, IPage page) : IAsyncDisposable
{
    private const int PatienceMilliseconds = 60_000;
    private const int MostTabs = 60;

    private readonly ConcurrentQueue<string> _problems = [];
    private readonly ConcurrentDictionary<string, bool> _hosts = [];

    /// <summary>What the console and scripts complained of.</summary>
    public IReadOnlyCollection<string> Problems => _problems;

    /// <summary>Hosts that were asked for anything.</summary>
    public ICollection<string> Hosts => _hosts.Keys;

    /// <summary>The tab, for what has no word here.</summary>
    public IPage Page => page;

    /// <summary>Opens an address.</summary>
    public async Task GoAsync(Uri url, int width, string scheme)
    {
        page.Console += (_, e) =>
        {
            if (e.Message.Type is ConsoleType.Error or ConsoleType.Warning) _problems.Enqueue(e.Message.Text);
        };
        page.PageError += (_, e) => _problems.Enqueue(e.Message);
        page.Request += (_, e) =>
        {
            if (new Uri(e.Request.Url) is { Scheme: "http" or "https" } address) _hosts[address.Authority] = true;
        };
        await page.SetViewportAsync(new ViewPortOptions { Width = width, Height = 800 });
        await page.EmulateMediaFeaturesAsync([new MediaFeatureValue { MediaFeature = MediaFeature.PrefersColorScheme, Value = scheme }]);
        await page.GoToAsync(url.AbsoluteUri);
    }

    /// <summary>Waits until the form can be filled.</summary>
    public Task ReadyAsync() => SeesAsync("#fields:enabled .pick");

    /// <summary>Waits until something is seen.</summary>
    /// <param name="selector">It, as CSS has it.</param>
    public Task SeesAsync(string selector) => page.WaitForSelectorAsync(selector, new WaitForSelectorOptions { Visible = true, Timeout = PatienceMilliseconds });

    /// <summary>Waits until an expression of JavaScript is true.</summary>
    public Task UntilAsync(string expression) => page.WaitForExpressionAsync(expression, new WaitForFunctionOptions { Timeout = PatienceMilliseconds });

    /// <summary>The value of an expression of JavaScript.</summary>
    public Task<T> ValueAsync<T>(string expression) => page.EvaluateExpressionAsync<T>(expression);

    /// <summary>The text of an element.</summary>
    public Task<string> TextAsync(string selector) => page.EvaluateFunctionAsync<string>("selector => document.querySelector(selector).innerText", selector);

    /// <summary>Types text where the focus is.</summary>
    public Task TypeAsync(string text) => page.Keyboard.TypeAsync(text);

    /// <summary>Presses a key.</summary>
    public Task PressAsync(string key) => page.Keyboard.PressAsync(key);

    /// <summary>Puts a text in the place of what a field holds.</summary>
    public async Task ReplaceAsync(string text)
    {
        await page.Keyboard.DownAsync("Control");
        await page.Keyboard.PressAsync("a");
        await page.Keyboard.UpAsync("Control");
        await page.Keyboard.TypeAsync(text);
    }

    /// <summary>Presses a button or a link.</summary>
    public async Task ClickAsync(string selector)
    {
        await SeesAsync(selector);
        await page.ClickAsync(selector);
    }

    /// <summary>Goes from element to element with the Tab key, until the focus is on what is looked for.</summary>
    public async Task TabToAsync(string selector)
    {
        for (var i = 0; i < MostTabs; i++)
        {
            await page.Keyboard.PressAsync("Tab");
            if (!await page.EvaluateFunctionAsync<bool>("selector => document.activeElement.matches(selector)", selector)) continue;
            var outline = await page.EvaluateExpressionAsync<string>("getComputedStyle(document.activeElement).outlineStyle");
            Assert.That(outline, Is.Not.EqualTo("none"), $"the focus on {selector} can be seen");
            return;
        }

        Assert.Fail($"{selector} is not reached by the Tab key");
    }

    /// <summary>Whether the page is wider than the window.</summary>
    public Task<bool> ScrollsSidewaysAsync() => page.EvaluateExpressionAsync<bool>("document.documentElement.scrollWidth > document.documentElement.clientWidth");

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await page.DisposeAsync();
        await context.CloseAsync();
    }
}
