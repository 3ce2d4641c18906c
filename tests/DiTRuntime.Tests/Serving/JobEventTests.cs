using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Net.ServerSentEvents;
using System.Text;
using System.Text.Json;
using DiTRuntime.Imaging;
using DiTRuntime.Serving.Http;
using Microsoft.Extensions.DependencyInjection;

namespace DiTRuntime.Tests.Serving;

public sealed class JobEventTests
{
    private ServerFixture _server = null!;

    [OneTimeSetUp]
    public async Task Start() => _server = await ServerFixture.StartAsync();

    [OneTimeTearDown]
    public async Task Stop() => await _server.DisposeAsync();

    [Test]
    public async Task Events_tell_progress_previews_and_the_end()
    {
        _server.Hold();
        var job = await _server.PostJsonAsync("/v1/jobs", """{"prompt":"3","seed":5,"steps":8}""", HttpStatusCode.Accepted);
        await _server.PassAsync();
        var seen = new List<(string Type, JsonElement Data, string? Id)>();
        await foreach (var (type, data, id) in EventsAsync(job, "?previews=1&interval=1"))
        {
            seen.Add((type, data, id));
            _server.Release();
        }

        using (Assert.EnterMultipleScope())
        {
            Assert.That(seen[0].Type, Is.EqualTo("progress"));
            Assert.That(seen[0].Data.GetProperty("status").GetString(), Is.EqualTo("running"));
            Assert.That(seen[0].Id, Is.Not.Null);
            Assert.That(seen.Where(e => e.Type == "progress").Select(e => e.Data.GetProperty("steps_done").GetInt32()), Is.Ordered);
            Assert.That(seen.Where(e => e.Type == "progress").Select(e => e.Data.GetProperty("result").ValueKind), Has.All.EqualTo(JsonValueKind.Null));
            Assert.That(seen[^1].Type, Is.EqualTo("completed"));
            Assert.That(seen[^1].Data.GetProperty("result").GetProperty("data").GetArrayLength(), Is.EqualTo(1));
            Assert.That(seen.Count(e => e.Type is "completed" or "failed" or "cancelled"), Is.EqualTo(1));
        }
    }

    [Test]
    public async Task Previews_show_the_latent()
    {
        _server.Hold();
        var job = await _server.PostJsonAsync("/v1/jobs", """{"prompt":"3","seed":5,"steps":1000,"spacing":"linspace"}""", HttpStatusCode.Accepted);
        await _server.PassAsync();
        await foreach (var (type, data, _) in EventsAsync(job, "?previews=1&interval=2"))
        {
            _server.Release();
            if (type != "preview") continue;
            Assert.That(data.GetProperty("image").GetInt32(), Is.Zero);
            Assert.That(data.GetProperty("step").GetInt32(), Is.GreaterThan(0));
            Assert.That(data.GetProperty("steps").GetInt32(), Is.EqualTo(1000));
            Assert.That(data.GetProperty("b64_json").GetBytesFromBase64().AsSpan(1, 3).SequenceEqual("PNG"u8));
            break;
        }

        using var deleted = await _server.Client.DeleteAsync("/v1/jobs/" + job.GetProperty("id").GetString());
        Assert.That(deleted.StatusCode, Is.EqualTo(HttpStatusCode.NoContent));
    }

    [Test]
    public async Task A_cancelled_job_ends_its_events()
    {
        _server.Hold();
        var job = await _server.PostJsonAsync("/v1/jobs", """{"prompt":"3","steps":50}""", HttpStatusCode.Accepted);
        var last = "";
        await foreach (var (type, _, _) in EventsAsync(job, ""))
        {
            last = type;
            if (type != "progress") continue;
            using var cancelled = await _server.Client.PostAsync($"/v1/jobs/{job.GetProperty("id").GetString()}/cancel", null);
        }

        _server.Release();
        Assert.That(last, Is.EqualTo("cancelled"));
    }

    [Test]
    public async Task Who_comes_after_the_end_gets_the_end()
    {
        var job = await _server.PostJsonAsync("/v1/jobs", """{"prompt":"3","steps":1}""", HttpStatusCode.Accepted);
        var types = new List<string>();
        await foreach (var (type, _, _) in EventsAsync(job, "")) types.Add(type);
        Assert.That(types[^1], Is.EqualTo("completed"));
        types.Clear();
        await foreach (var (type, _, _) in EventsAsync(job, "")) types.Add(type);
        Assert.That(types, Is.EqualTo(new[] { "completed" }));
    }

    [Test]
    public async Task A_job_that_stands_still_keeps_its_listeners_awake_with_comments()
    {
        _server.Hold();
        var job = await _server.PostJsonAsync("/v1/jobs", """{"prompt":"3","steps":50}""", HttpStatusCode.Accepted);
        await _server.PassAsync();
        var store = _server.App.Services.GetRequiredService<JobStore>();
        var pipe = new Pipe();
        using var end = new CancellationTokenSource();
        var events = new JobEvents(store.Find(job.GetProperty("id").GetString()!)!, pipe.Writer, new HastyTime()).RunAsync(null, end.Token);
        var seen = "";
        while (!seen.Contains("}\n\n:\n\n:\n\n", StringComparison.Ordinal))
        {
            var read = await pipe.Reader.ReadAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30));
            seen += Encoding.UTF8.GetString(read.Buffer.ToArray());
            pipe.Reader.AdvanceTo(read.Buffer.End);
        }

        await end.CancelAsync();
        Assert.That(async () => await events, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(store.Remove(job.GetProperty("id").GetString()!));
        _server.Release();
    }

    [Test]
    public void A_preview_of_an_autoencoders_latent_is_its_published_colours()
    {
        var config = _server.Model.Config with { InChannels = 4, InputSize = 2 };
        float[] latent = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, LatentPreview.Encode(latent, config)!);
            var image = PngReader.ReadPixels(path);
            Assert.That((image.Width, image.Height, image.Channels), Is.EqualTo((2, 2, 3)));
            float[] colours = [0.298f, 0.207f, 0.208f, 0.187f, 0.286f, 0.173f, -0.158f, 0.189f, 0.264f, -0.184f, -0.271f, -0.473f];
            Assert.That(image.Pixels, Is.EqualTo(colours.Select(c => (byte)(127.5f * c + 128))));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Test]
    public void Latents_of_unknown_channels_have_no_preview() =>
        Assert.That(LatentPreview.Encode(new float[16 * 4], _server.Model.Config with { InChannels = 16, InputSize = 2 }), Is.Null);

    private async IAsyncEnumerable<(string Type, JsonElement Data, string? Id)> EventsAsync(JsonElement job, string query)
    {
        using var response = await _server.Client.GetAsync($"/v1/jobs/{job.GetProperty("id").GetString()}/events{query}", HttpCompletionOption.ResponseHeadersRead);
        Assert.That(response.Content.Headers.ContentType?.MediaType, Is.EqualTo("text/event-stream"));
        await using var stream = await response.Content.ReadAsStreamAsync();
        var parser = SseParser.Create(stream);
        await foreach (var item in parser.EnumerateAsync()) yield return (item.EventType, JsonDocument.Parse(item.Data).RootElement, item.EventId);
    }

    /// <summary>A clock whose timers all fire at once.</summary>
    private sealed class HastyTime : TimeProvider
    {
        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            base.CreateTimer(callback, state, dueTime > TimeSpan.Zero ? TimeSpan.FromMilliseconds(1) : dueTime, period);
    }
}
