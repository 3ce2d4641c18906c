using DiTRuntime.Tests.Exporter.EndToEnd;
using PuppeteerSharp;

namespace DiTRuntime.Tests.Serving;

/// <summary>A headless Chromium, as tools/fetch-browser.sh installs it. Tests are skipped where there is none; in CI they fail.</summary>
internal sealed class PageBrowser : IAsyncDisposable
{
    private static readonly string[] s_programs = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

    private readonly IBrowser _browser;

    private PageBrowser(IBrowser browser) => _browser = browser;

    /// <summary>Starts it.</summary>
    public static async Task<PageBrowser> LaunchAsync()
    {
        var places = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator);
        var program = s_programs.SelectMany(name => places.Select(place => Path.Combine(place, name))).FirstOrDefault(File.Exists)
            ?? throw CTools.Missing("Chromium is not on the PATH; tools/fetch-browser.sh installs it");
        // A container has neither the rights that the sandbox needs as root nor much shared memory.
        string[] arguments = Environment.IsPrivilegedProcess ? ["--no-sandbox", "--disable-dev-shm-usage"] : ["--disable-dev-shm-usage"];
        return new PageBrowser(await Puppeteer.LaunchAsync(new LaunchOptions { ExecutablePath = program, Headless = true, Args = arguments }));
    }

    /// <summary>Opens an address in a tab of a session of its own.</summary>
    /// <param name="url">The address.</param>
    /// <param name="width">Width of the window in CSS pixels.</param>
    /// <param name="scheme">"light" or "dark".</param>
    public async Task<BrowserTab> OpenAsync(Uri url, int width = 1280, string scheme = "light")
    {
        var context = await _browser.CreateBrowserContextAsync();
        var tab = new BrowserTab(context, await context.NewPageAsync());
        await tab.GoAsync(url, width, scheme);
        return tab;
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _browser.DisposeAsync();
}
