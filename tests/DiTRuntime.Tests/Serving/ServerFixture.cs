using System.Net;
using System.Text;
using System.Text.Json;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Serving;
using DiTRuntime.Tests.Backends;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace DiTRuntime.Tests.Serving;

/// <summary>The service on a free port of this machine with the digit model, whose passes can be held and broken.</summary>
internal sealed class ServerFixture : IAsyncDisposable
{
    private readonly ManualResetEventSlim _open = new(initialState: true);
    private readonly SemaphoreSlim _passes = new(0);

    private ServerFixture(ServerOptions? options, Action<DiTOptions>? configure)
    {
        App = DiTServer.Build(
            model =>
            {
                model.Model = TestFiles.DigitModel;
                model.OpenBackend = OpenBackend;
                configure?.Invoke(model);
            },
            (options ?? new ServerOptions()) with { Port = 0 });
    }

    public WebApplication App { get; }

    public HttpClient Client { get; } = new() { Timeout = TimeSpan.FromMinutes(1) };

    public ModelHost Host => App.Services.GetRequiredService<ModelHost>();

    public ServedModel Model => Host.Model!;

    public Uri Address => Client.BaseAddress!;

    /// <summary>Called on the scheduler's thread before each pass of the model.</summary>
    public Action? BeforePass { get; set; }

    /// <summary>Starts a server.</summary>
    /// <param name="options">How it is reached; the port is always a free one.</param>
    /// <param name="configure">Changes the model's options.</param>
    /// <param name="waits">Whether to wait until the model is loaded.</param>
    public static async Task<ServerFixture> StartAsync(ServerOptions? options = null, Action<DiTOptions>? configure = null, bool waits = true)
    {
        var fixture = new ServerFixture(options, configure);
        await fixture.App.StartAsync();
        fixture.Client.BaseAddress = new Uri(DiTServer.UrlOf(fixture.App));
        if (!waits) return fixture;
        await fixture.Host.Loaded;
        fixture.ForgetPasses();
        return fixture;
    }

    /// <summary>An answer's JSON.</summary>
    public static async Task<JsonElement> JsonAsync(HttpResponseMessage response)
    {
        using var document = JsonDocument.Parse(await response.Content.ReadAsStringAsync());
        return document.RootElement.Clone();
    }

    /// <summary>An answer is an error of the documented shape.</summary>
    public static async Task AssertErrorAsync(HttpResponseMessage response, int status, string code, string? field = null)
    {
        var text = await response.Content.ReadAsStringAsync();
        Assert.That((int)response.StatusCode, Is.EqualTo(status), text);
        using var document = JsonDocument.Parse(text);
        var error = document.RootElement.GetProperty("error");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(error.GetProperty("code").GetString(), Is.EqualTo(code), text);
            Assert.That(error.GetProperty("param").GetString(), Is.EqualTo(field), text);
            Assert.That(error.GetProperty("type").GetString(), Is.Not.Empty);
            Assert.That(error.GetProperty("message").GetString(), Is.Not.Empty.And.Not.Contain("\n").And.Not.Contain(TestFiles.Root).And.Not.Contain("Exception"));
        }
    }

    public Task<HttpResponseMessage> PostAsync(string path, string json) => Client.PostAsync(path, new StringContent(json, Encoding.UTF8, "application/json"));

    public async Task<JsonElement> PostJsonAsync(string path, string json, HttpStatusCode expected = HttpStatusCode.OK)
    {
        using var response = await PostAsync(path, json);
        Assert.That(response.StatusCode, Is.EqualTo(expected), await response.Content.ReadAsStringAsync());
        return await JsonAsync(response);
    }

    public async Task<JsonElement> GetJsonAsync(string path)
    {
        using var response = await Client.GetAsync(path);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), await response.Content.ReadAsStringAsync());
        return await JsonAsync(response);
    }

    /// <summary>Stops before the next pass; those before are forgotten.</summary>
    public void Hold()
    {
        _open.Reset();
        ForgetPasses();
    }

    /// <summary>Goes on.</summary>
    public void Release() => _open.Set();

    /// <summary>The scheduler times some passes before it takes requests.</summary>
    private void ForgetPasses()
    {
        while (_passes.Wait(0)) continue;
    }

    /// <summary>Waits until a pass has come to its beginning since <see cref="Hold"/>.</summary>
    public Task PassAsync() => _passes.WaitAsync(TimeSpan.FromSeconds(30));

    /// <summary>Waits until something is the case.</summary>
    public static async Task UntilAsync(Func<bool> condition)
    {
        for (var waited = 0; !condition(); waited++)
        {
            if (waited > 3000) Assert.Fail("it never came to that");
            await Task.Delay(10);
        }
    }

    public async ValueTask DisposeAsync()
    {
        Release();
        Client.Dispose();
        await App.DisposeAsync();
    }

    private HookedBackend OpenBackend() => new(CpuBackend.Create(new CpuOptions(2)))
    {
        Before = name =>
        {
            if (name != nameof(HookedBackend.PatchEmbed)) return;
            _passes.Release();
            _open.Wait();
            BeforePass?.Invoke();
        },
    };
}
