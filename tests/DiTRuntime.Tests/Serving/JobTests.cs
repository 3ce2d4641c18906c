using System.Net;
using System.Text.Json;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Serving;
using Microsoft.Extensions.DependencyInjection;
using JobStore = DiTRuntime.Serving.Http.JobStore;

namespace DiTRuntime.Tests.Serving;

public sealed class JobTests
{
    private ServerFixture _server = null!;

    [OneTimeSetUp]
    public async Task Start() => _server = await ServerFixture.StartAsync();

    [TearDown]
    public void GoOn()
    {
        _server.BeforePass = null;
        _server.Release();
    }

    [OneTimeTearDown]
    public async Task Stop() => await _server.DisposeAsync();

    [Test]
    public async Task A_job_is_accepted_runs_and_hands_its_images_over()
    {
        const string Body = """{"prompt":"3,4","seed":5,"steps":2}""";
        using var accepted = await _server.PostAsync("/v1/jobs", Body);
        Assert.That(accepted.StatusCode, Is.EqualTo(HttpStatusCode.Accepted));
        var job = await ServerFixture.JsonAsync(accepted);
        var path = accepted.Headers.Location!.ToString();
        Assert.That(path, Is.EqualTo("/v1/jobs/" + job.GetProperty("id").GetString()));

        var end = await EndAsync(path);
        var result = end.GetProperty("result");
        var request = end.GetProperty("request");
        var expected = await _server.PostJsonAsync("/v1/images/generations", Body);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(end.GetProperty("status").GetString(), Is.EqualTo("completed"));
            Assert.That(end.GetProperty("steps_done").GetInt32(), Is.EqualTo(4));
            Assert.That(end.GetProperty("images_done").GetInt32(), Is.EqualTo(2));
            Assert.That(end.GetProperty("n").GetInt32(), Is.EqualTo(2));
            Assert.That(end.GetProperty("expires").GetInt64() - end.GetProperty("completed").GetInt64(), Is.EqualTo(600));
            Assert.That(request.GetProperty("class_labels").EnumerateArray().Select(label => label.GetInt32()), Is.EqualTo(new[] { 3, 4 }));
            Assert.That(request.GetProperty("spacing").GetString(), Is.EqualTo("leading"));
            Assert.That(end.GetProperty("error").ValueKind, Is.EqualTo(JsonValueKind.Null));
        }

        for (var i = 0; i < 2; i++)
        {
            var url = result.GetProperty("data")[i].GetProperty("url").GetString();
            Assert.That(url, Is.EqualTo($"{path}/images/{i}"));
            Assert.That(await _server.Client.GetByteArrayAsync(url), Is.EqualTo(expected.GetProperty("data")[i].GetProperty("b64_json").GetBytesFromBase64()));
        }

        using var missing = await _server.Client.GetAsync(path + "/images/2");
        await ServerFixture.AssertErrorAsync(missing, 404, "not_found");
        using var late = await _server.Client.PostAsync(path + "/cancel", null);
        await ServerFixture.AssertErrorAsync(late, 409, "ended");
    }

    [Test]
    public async Task A_running_job_and_one_that_waits_can_be_cancelled()
    {
        _server.Hold();
        var running = await CreateAsync("""{"prompt":"1","steps":50,"n":10}""");
        await _server.PassAsync();
        var waiting = await CreateAsync("""{"prompt":"1","steps":50}""");
        Assert.That((await _server.GetJsonAsync(running)).GetProperty("status").GetString(), Is.EqualTo("running"));
        Assert.That((await _server.GetJsonAsync(waiting)).GetProperty("status").GetString(), Is.EqualTo("queued"));
        using (var early = await _server.Client.GetAsync(running + "/images/0")) await ServerFixture.AssertErrorAsync(early, 409, "no_images");
        foreach (var path in new[] { running, waiting })
        {
            using var response = await _server.Client.PostAsync(path + "/cancel", null);
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
            Assert.That((await ServerFixture.JsonAsync(response)).GetProperty("status").GetString(), Is.EqualTo("cancelled"));
        }

        _server.Release();
        var end = await EndAsync(running);
        Assert.That(end.GetProperty("status").GetString(), Is.EqualTo("cancelled"));
        Assert.That(end.GetProperty("result").ValueKind, Is.EqualTo(JsonValueKind.Null));
        using var again = await _server.Client.PostAsync(running + "/cancel", null);
        await ServerFixture.AssertErrorAsync(again, 409, "ended");
    }

    [Test]
    public async Task A_job_that_is_deleted_is_forgotten_and_makes_room()
    {
        _server.Hold();
        var path = await CreateAsync("""{"prompt":"1","steps":50}""");
        await _server.PassAsync();
        using var response = await _server.Client.DeleteAsync(path);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.NoContent));
        using (var gone = await _server.Client.GetAsync(path)) await ServerFixture.AssertErrorAsync(gone, 404, "job_not_found");
        using (var again = await _server.Client.DeleteAsync(path)) await ServerFixture.AssertErrorAsync(again, 404, "job_not_found");
        _server.Release();
        await ServerFixture.UntilAsync(() => _server.Model.Scheduler.Load is { RunningRequests: 0, QueuedRequests: 0 });
    }

    [Test]
    public async Task Jobs_are_listed_newest_first()
    {
        var first = await CreateAsync("""{"prompt":"1","steps":1}""");
        await EndAsync(first);
        var second = await CreateAsync("""{"prompt":"1","steps":1}""");
        await EndAsync(second);
        var list = (await _server.GetJsonAsync("/v1/jobs?status=completed&limit=2")).GetProperty("data");
        Assert.That(list.EnumerateArray().Select(job => "/v1/jobs/" + job.GetProperty("id").GetString()), Is.EqualTo(new[] { second, first }));
        Assert.That((await _server.GetJsonAsync("/v1/jobs?status=failed&limit=1000")).GetProperty("data").EnumerateArray().Select(job => job.GetProperty("status").GetString()), Has.All.EqualTo("failed"));
    }

    [Test]
    public async Task A_step_that_throws_fails_its_job_and_request_and_no_other()
    {
        _server.BeforePass = () => throw new InvalidOperationException("/secret/path broke");
        var path = await CreateAsync("""{"prompt":"1","steps":2}""");
        var end = await EndAsync(path);
        Assert.That(end.GetProperty("status").GetString(), Is.EqualTo("failed"));
        Assert.That(end.GetProperty("error").GetProperty("code").GetString(), Is.EqualTo("failed"));
        Assert.That(end.GetRawText(), Does.Not.Contain("secret"));
        using var response = await _server.PostAsync("/v1/images/generations", """{"prompt":"1","steps":2}""");
        await ServerFixture.AssertErrorAsync(response, 500, "failed");
        _server.BeforePass = null;
        await _server.PostJsonAsync("/v1/images/generations", """{"prompt":"1","steps":2}""");
    }

    [Test]
    public async Task Want_of_memory_is_told_as_such()
    {
        _server.BeforePass = () => throw new GpuOutOfMemoryException("a buffer of 1 TB");
        using var response = await _server.PostAsync("/v1/images/generations", """{"prompt":"1","steps":2}""");
        await ServerFixture.AssertErrorAsync(response, 500, "out_of_memory");
    }

    [Test]
    public async Task A_full_queue_is_told_with_the_time_to_come_back()
    {
        await using var small = await ServerFixture.StartAsync(configure: model => model.Scheduler = new() { MaxQueue = 2, MaxBatch = 2 });
        small.Hold();
        const string Body = """{"prompt":"1","steps":50}""";
        await small.PostJsonAsync("/v1/jobs", Body, HttpStatusCode.Accepted);
        await small.PassAsync();
        await small.PostJsonAsync("/v1/jobs", Body, HttpStatusCode.Accepted);
        await small.PostJsonAsync("/v1/jobs", Body, HttpStatusCode.Accepted);
        foreach (var path in new[] { "/v1/jobs", "/v1/images/generations" })
        {
            using var response = await small.PostAsync(path, Body);
            await ServerFixture.AssertErrorAsync(response, 429, "queue_full");
            Assert.That(response.Headers.RetryAfter?.Delta, Is.GreaterThanOrEqualTo(TimeSpan.FromSeconds(1)));
        }

        var load = await small.GetJsonAsync("/v1/load");
        Assert.That(load.GetProperty("queued_requests").GetInt32(), Is.EqualTo(2));
        Assert.That(load.GetProperty("max_queue").GetInt32(), Is.EqualTo(2));
        foreach (var job in (await small.GetJsonAsync("/v1/jobs")).GetProperty("data").EnumerateArray())
        {
            using var cancelled = await small.Client.DeleteAsync("/v1/jobs/" + job.GetProperty("id").GetString());
            Assert.That(cancelled.StatusCode, Is.EqualTo(HttpStatusCode.NoContent));
        }
    }

    [Test]
    public async Task A_client_that_goes_away_takes_its_request_with_it()
    {
        _server.Hold();
        using var patience = new CancellationTokenSource();
        using var content = new StringContent("""{"prompt":"1","steps":1000,"spacing":"linspace"}""", null, "application/json");
        var request = _server.Client.PostAsync("/v1/images/generations", content, patience.Token);
        await _server.PassAsync();
        await patience.CancelAsync();
        Assert.That(async () => await request, Throws.InstanceOf<OperationCanceledException>());
        await ServerFixture.UntilAsync(() => _server.Model.Scheduler.Load is { RunningRequests: 0, QueuedRequests: 0 });
        _server.Release();
        await _server.PostJsonAsync("/v1/images/generations", """{"prompt":"1","steps":1}""");
    }

    [Test]
    public async Task Ended_jobs_are_forgotten_in_time()
    {
        var time = new ManualTime();
        using var store = new JobStore(new ServerOptions { JobLifetime = TimeSpan.FromMinutes(5) }, time, Microsoft.Extensions.Logging.Abstractions.NullLogger<JobStore>.Instance);
        var order = new DiTRuntime.Serving.Http.ImageOrder(new() { Labels = [1], Sampler = new() { Steps = 1 } }, "png", AsLinks: false);
        var job = store.Add(_server.Model, order, _server.Model.Scheduler.Submit(order.Request));
        await job.Ended;
        Assert.That(store.Find(job.Id), Is.SameAs(job));
        time.Advance(TimeSpan.FromMinutes(4.9));
        Assert.That(store.Find(job.Id), Is.SameAs(job));
        time.Advance(TimeSpan.FromMinutes(0.2));
        Assert.That(store.Find(job.Id), Is.Null);
        Assert.That(store.List(), Is.Empty);
    }

    private async Task<string> CreateAsync(string body) => "/v1/jobs/" + (await _server.PostJsonAsync("/v1/jobs", body, HttpStatusCode.Accepted)).GetProperty("id").GetString();

    private async Task<JsonElement> EndAsync(string path)
    {
        var store = _server.App.Services.GetRequiredService<JobStore>();
        await store.Find(path.Split('/')[^1])!.Ended.WaitAsync(TimeSpan.FromSeconds(30));
        return await _server.GetJsonAsync(path);
    }
}
