using System.Text.RegularExpressions;
using DiTRuntime.Models.Scheduling;
using DiTRuntime.Serving;
using DiTRuntime.Serving.Telemetry;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace DiTRuntime.Tests.Serving.Telemetry;

/// <summary>The text of <c>/metrics</c>, of a service whose model never loads.</summary>
[TestFixture]
internal sealed partial class MetricsTextTests
{
    private WebApplication _application = null!;
    private HttpClient _client = null!;

    [SetUp]
    public async Task Start()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddOptions<DiTOptions>();
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton<ModelHost>();
        builder.Services.AddDiTTelemetry();
        _application = builder.Build();
        _application.UseDiTTelemetry();
        _application.MapMetrics();
        _application.MapGet("/items/{id}", context =>
        {
            context.Response.StatusCode = context.Request.Query.ContainsKey("teapot") ? StatusCodes.Status418ImATeapot : StatusCodes.Status200OK;
            return Task.CompletedTask;
        });
        _application.MapGet("/broken", _ => throw new InvalidOperationException());
        await _application.StartAsync();
        _client = new HttpClient { BaseAddress = new Uri(_application.Urls.Single()) };
    }

    [TearDown]
    public async Task Stop()
    {
        _client.Dispose();
        await _application.DisposeAsync();
    }

    [Test]
    public async Task Text_is_as_documented()
    {
        var observer = _application.Services.GetRequiredService<ISchedulerObserver>();
        observer.Queued(TimeSpan.FromSeconds(0.25));
        observer.StepTaken(TimeSpan.FromMilliseconds(3), 5);
        observer.StepTaken(TimeSpan.FromSeconds(20), 1000);
        observer.Decoded(TimeSpan.FromMilliseconds(1));
        observer.ImageFinished();
        observer.ImageFinished();
        observer.ImageFailed();
        observer.ImageCancelled();
        var metrics = _application.Services.GetRequiredService<ServiceMetrics>();
        metrics.RequestEnded("/v1/jobs/{id}", 404, TimeSpan.FromSeconds(1.5));
        var response = await _client.GetAsync("/metrics");
        Assert.That(response.Content.Headers.ContentType!.ToString(), Is.EqualTo("text/plain; version=0.0.4; charset=utf-8"));
        var text = MemoryBytes().Replace(await response.Content.ReadAsStringAsync(), "$1 N");
        Assert.That(text, Is.EqualTo(await File.ReadAllTextAsync(TestFiles.Golden("serving/metrics.txt"))));
    }

    [Test]
    public async Task Requests_are_counted_by_route_never_by_path()
    {
        await _client.GetAsync("/items/1");
        await _client.GetAsync("/items/2?teapot=1");
        await _client.GetAsync("/items/3?teapot=1");
        await _client.GetAsync("/nowhere/1");
        await _client.GetAsync("/nowhere/2");
        await _client.PostAsync("/items/4", null);
        await _client.GetAsync("/broken");
        var requests = (await _client.GetStringAsync("/metrics")).Split('\n').Where(l => l.StartsWith("dit_requests_total{", StringComparison.Ordinal));
        Assert.That(requests, Is.EquivalentTo(new[]
        {
            "dit_requests_total{endpoint=\"/items/{id}\",status=\"200\"} 1",
            "dit_requests_total{endpoint=\"/items/{id}\",status=\"418\"} 2",
            "dit_requests_total{endpoint=\"none\",status=\"404\"} 2",
            "dit_requests_total{endpoint=\"none\",status=\"405\"} 1",
            "dit_requests_total{endpoint=\"/broken\",status=\"500\"} 1",
        }));
    }

    [Test]
    public async Task Only_reading_is_allowed() =>
        Assert.That((int)(await _client.PostAsync("/metrics", null)).StatusCode, Is.EqualTo(StatusCodes.Status405MethodNotAllowed));

    [Test]
    public void What_the_scheduler_tells_allocates_nothing()
    {
        var observer = _application.Services.GetRequiredService<ISchedulerObserver>();
        var before = 0L;
        for (var i = 0; i < 200; i++)
        {
            // The first calls make the collector's own points.
            if (i == 100) before = GC.GetAllocatedBytesForCurrentThread();
            observer.Queued(TimeSpan.FromSeconds(i));
            observer.StepTaken(TimeSpan.FromMilliseconds(i), i);
            observer.Decoded(TimeSpan.FromMilliseconds(i));
            observer.ImageFinished();
            observer.ImageFailed();
            observer.ImageCancelled();
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    [GeneratedRegex("^(dit_memory_bytes\\{part=\"\\w+\"\\}) [1-9]\\d*$", RegexOptions.Multiline)]
    private static partial Regex MemoryBytes();
}
