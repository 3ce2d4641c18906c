using System.Globalization;

namespace DiTRuntime.Tests.Serving.Telemetry;

/// <summary>What <c>/metrics</c> says of a service that makes images.</summary>
[TestFixture]
internal sealed class ServiceMetricsTests
{
    [Test]
    public async Task Documented_names_are_all_there_and_no_others()
    {
        await using var server = await ServerFixture.StartAsync();
        await server.PostJsonAsync("/v1/images/generations", """{"prompt":"3","n":2,"steps":3}""");
        var text = await server.Client.GetStringAsync("/metrics");
        var types = text.Split('\n').Where(l => l.StartsWith("# TYPE ", StringComparison.Ordinal)).Select(l => l[7..]);
        Assert.That(types, Is.EquivalentTo(new[]
        {
            "dit_requests_total counter", "dit_request_duration_seconds histogram", "dit_queue_duration_seconds histogram", "dit_step_duration_seconds histogram",
            "dit_decode_duration_seconds histogram", "dit_batch_rows histogram", "dit_queue_depth gauge", "dit_running_images gauge", "dit_images_generated_total counter",
            "dit_images_failed_total counter", "dit_images_cancelled_total counter", "dit_memory_bytes gauge", "dit_ready gauge", "dit_build_info gauge",
        }));
        Assert.Multiple(() =>
        {
            Assert.That(Value(text, "dit_images_generated_total{}"), Is.EqualTo(2));
            Assert.That(Value(text, "dit_images_failed_total{}"), Is.Zero);
            Assert.That(Value(text, "dit_step_duration_seconds_count{}"), Is.InRange(3, 6));
            // Two images of three steps, two samples each.
            Assert.That(Value(text, "dit_batch_rows_sum{}"), Is.EqualTo(12));
            Assert.That(Value(text, "dit_decode_duration_seconds_count{}"), Is.EqualTo(2));
            Assert.That(Value(text, "dit_queue_duration_seconds_count{}"), Is.EqualTo(1));
            Assert.That(Value(text, "dit_running_images{}"), Is.Zero);
            Assert.That(Value(text, "dit_ready{}"), Is.EqualTo(1));
            Assert.That(Value(text, "dit_memory_bytes{part=\"weights\"}"), Is.EqualTo(server.Model.WeightBytes));
            Assert.That(Value(text, "dit_memory_bytes{part=\"modulation\"}"), Is.Positive);
            Assert.That(Value(text, "dit_memory_bytes{part=\"resident\"}"), Is.GreaterThan(Value(text, "dit_memory_bytes{part=\"managed\"}")));
            Assert.That(Value(text, "dit_requests_total{endpoint=\"/v1/images/generations\",status=\"200\"}"), Is.EqualTo(1));
            Assert.That(text, Does.Contain($"dit_build_info{{backend=\"{server.Model.Backend}\",model=\"digits\",version=\"{ProductVersion.Text}\"}} 1\n"));
        });
    }

    [Test]
    public async Task The_queue_and_the_running_images_are_seen_while_they_last()
    {
        await using var server = await ServerFixture.StartAsync(configure: model => model.Scheduler = model.Scheduler with { MaxBatch = 2 });
        server.Hold();
        var first = server.PostJsonAsync("/v1/jobs", """{"prompt":"3","steps":2}""", System.Net.HttpStatusCode.Accepted);
        await server.PassAsync();
        await first;
        await server.PostJsonAsync("/v1/jobs", """{"prompt":"4","steps":2}""", System.Net.HttpStatusCode.Accepted);
        var text = await server.Client.GetStringAsync("/metrics");
        server.Release();
        Assert.That(Value(text, "dit_queue_depth{}"), Is.EqualTo(1));
        Assert.That(Value(text, "dit_running_images{}"), Is.EqualTo(1));
    }

    [Test]
    public async Task A_service_that_loads_or_drains_is_not_ready()
    {
        await using var server = await ServerFixture.StartAsync();
        server.Hold();
        await server.PostJsonAsync("/v1/jobs", """{"prompt":"3","steps":2}""", System.Net.HttpStatusCode.Accepted);
        await server.PassAsync();
        var stopping = server.App.StopAsync();
        await ServerFixture.UntilAsync(() => server.Host.State == DiTRuntime.Serving.ServingState.Draining);
        var text = await server.Client.GetStringAsync("/metrics");
        server.Release();
        await stopping;
        Assert.That(Value(text, "dit_ready{}"), Is.Zero);
    }

    /// <summary>The value of a series.</summary>
    private static double Value(string text, string series)
    {
        var line = text.Split('\n').SingleOrDefault(l => l.StartsWith(series + " ", StringComparison.Ordinal));
        Assert.That(line, Is.Not.Null, $"{series} in\n{text}");
        return double.Parse(line![series.Length..], CultureInfo.InvariantCulture);
    }
}
