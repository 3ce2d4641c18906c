using System.Net;
using System.Net.Http.Headers;
using System.Text.RegularExpressions;
using DiTRuntime.Serving.Http;

namespace DiTRuntime.Tests.Serving;

/// <summary>The files of the page, as HTTP has them.</summary>
[TestFixture]
internal sealed partial class PageFileTests
{
    private ServerFixture _server = null!;

    [OneTimeSetUp]
    public async Task StartAsync() => _server = await ServerFixture.StartAsync();

    [OneTimeTearDown]
    public async Task StopAsync() => await _server.DisposeAsync();

    [Test]
    public async Task The_page_lets_nothing_in_from_elsewhere()
    {
        using var answer = await _server.Client.GetAsync("/");
        var policy = answer.Headers.GetValues("Content-Security-Policy").Single();
        Assert.Multiple(() =>
        {
            Assert.That(answer.StatusCode, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(answer.Content.Headers.ContentType?.ToString(), Is.EqualTo("text/html; charset=utf-8"));
            Assert.That(policy, Does.Contain("default-src 'self'").And.Contain("img-src 'self' data: blob:").And.Contain("frame-ancestors 'none'"));
            Assert.That(policy, Does.Not.Contain("unsafe"));
            Assert.That(answer.Headers.GetValues("X-Content-Type-Options").Single(), Is.EqualTo("nosniff"));
            Assert.That(answer.Headers.GetValues("Referrer-Policy").Single(), Is.EqualTo("no-referrer"));
        });
    }

    [Test]
    public async Task Files_are_sent_again_only_when_they_have_changed()
    {
        using var first = await _server.Client.GetAsync("/page/style.css");
        using var request = new HttpRequestMessage(HttpMethod.Get, "/page/style.css");
        request.Headers.IfNoneMatch.Add(new EntityTagHeaderValue(first.Headers.ETag!.Tag, isWeak: true));
        using var second = await _server.Client.SendAsync(request);
        using var other = new HttpRequestMessage(HttpMethod.Get, "/page/style.css");
        other.Headers.IfNoneMatch.Add(new EntityTagHeaderValue("\"another\""));
        using var third = await _server.Client.SendAsync(other);
        using var head = await _server.Client.SendAsync(new HttpRequestMessage(HttpMethod.Head, "/page/style.css"));
        Assert.Multiple(() =>
        {
            Assert.That(first.Content.Headers.ContentType?.MediaType, Is.EqualTo("text/css"));
            Assert.That(first.Headers.CacheControl?.NoCache, Is.True);
            Assert.That(second.StatusCode, Is.EqualTo(HttpStatusCode.NotModified));
            Assert.That(second.Headers.ETag, Is.EqualTo(first.Headers.ETag));
            Assert.That(third.StatusCode, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(head.StatusCode, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(head.Content.Headers.ContentLength, Is.EqualTo(first.Content.Headers.ContentLength));
        });
    }

    [Test]
    public async Task Every_file_that_the_page_names_is_there_and_none_is_written_into_it()
    {
        var page = await _server.Client.GetStringAsync("/");
        Assert.That(page, Does.Not.Match("""<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|(?:src|href)="(?:https?:)?//"""));
        var found = new HashSet<string>();
        var open = new Queue<string>(FileNamed().Matches(page).Select(match => match.Groups[1].Value));
        while (open.TryDequeue(out var path))
        {
            if (!found.Add(path)) continue;
            var text = await _server.Client.GetStringAsync(path);
            foreach (Match match in ModuleNamed().Matches(text)) open.Enqueue($"page/{match.Groups[1].Value}");
        }

        var embedded = typeof(PageEndpoints).Assembly.GetManifestResourceNames().Where(name => name.Contains(".Page.", StringComparison.Ordinal));
        Assert.That(found.Select(path => path.Replace("page/", "DiTRuntime.Serving.Page.", StringComparison.Ordinal)).Append("DiTRuntime.Serving.Page.index.html"), Is.EquivalentTo(embedded));
    }

    [GeneratedRegex("""(?:src|href)="(page/[^"]+)""")]
    private static partial Regex FileNamed();

    [GeneratedRegex("""from '\./([^']+)'""")]
    private static partial Regex ModuleNamed();
}
