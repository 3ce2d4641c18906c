using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using DiTRuntime.Models;

namespace DiTRuntime.Tests.Serving;

/// <summary>
/// Twenty thousand requests, most of them damaged, over many connections at once: each gets a documented answer or none at all, nothing is left behind, and the
/// server makes the same image as before.
/// </summary>
[TestFixture]
[Category(TestFiles.Slow)]
public sealed class FuzzTests
{
    private const int RequestCount = 20_000;
    private const int WorkerCount = 12;
    private const int Seed = 20_251_128;
    private const long SpareBytes = 200 << 20;

    /// <summary>Bytes of "HTTP/1.1 200".</summary>
    private const int StatusLine = 12;

    /// <summary>One in so many is no HTTP; one in so many loses its client.</summary>
    private const int RawShare = 8, GoneShare = 40;

    /// <summary>Rows of the adaLN table, and with guidance twice the steps of an image: what asks for more is refused.</summary>
    private const int TableRows = 8;

    private const int Unanswered = 0;

    private static readonly int[] s_documented = [200, 202, 204, 304, 400, 404, 405, 408, 409, 413, 415, 422, 429, 431, 503];

    /// <summary>What the server's own reading of HTTP refuses with: another version of the protocol, and targets that are too long.</summary>
    private static readonly int[] s_protocol = [400, 408, 413, 414, 431, 505];

    private readonly ConcurrentQueue<string> _jobs = new();
    private readonly ConcurrentDictionary<int, int> _countOfStatus = new();
    private ServerFixture _server = null!;

    [Test]
    public async Task Damaged_requests_leave_nothing_behind()
    {
        await using var server = await ServerFixture.StartAsync(configure: model => model.Scheduler = model.Scheduler with
        {
            MaxQueue = 32,
            MaxImagesPerRequest = 4,
            ModulationBytes = TableBytes(),
        });
        _server = server;
        var before = await ImageAsync();
        await RunAsync(RequestCount / 10, Seed);
        var bytes = GC.GetTotalMemory(forceFullCollection: true);
        await RunAsync(RequestCount - RequestCount / 10, Seed + 1);
        await EndJobsAsync();

        Assert.That(await ImageAsync(), Is.EqualTo(before));
        Assert.That(server.Model.Scheduler.Load, Has.Property("QueuedRequests").Zero.And.Property("RunningRequests").Zero.And.Property("RunningImages").Zero);
        Assert.That(GC.GetTotalMemory(forceFullCollection: true) - bytes, Is.LessThan(SpareBytes));
        await TestContext.Out.WriteLineAsync(string.Join(", ", _countOfStatus.OrderBy(s => s.Key).Select(s => $"{s.Key}: {s.Value}")));
        // The damage is neither too little nor too much to say anything.
        Assert.That(_countOfStatus.Keys, Is.SupersetOf(new[] { 200, 202, 204, 400, 404, 405, 415, 422 }));
        Assert.That(_countOfStatus.GetValueOrDefault(Unanswered), Is.LessThan(RequestCount / 1000));
        Assert.That(_countOfStatus[200], Is.GreaterThan(RequestCount / 5));
    }

    private static long TableBytes()
    {
        using var weights = ModelSource.Open(TestFiles.DigitModel, heads: null);
        return TableRows * ModulationTable.RowBytes(weights.Config);
    }

    private async Task RunAsync(int requestCount, int seed) =>
        await Task.WhenAll(Enumerable.Range(0, WorkerCount).Select(worker => Task.Run(() => WorkAsync(requestCount / WorkerCount, seed * WorkerCount + worker))));

    private async Task WorkAsync(int requestCount, int seed)
    {
        var random = new Random(seed);
        var mutator = new FuzzMutator(random);
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false, RequestHeaderEncodingSelector = (_, _) => Encoding.Latin1 }) { Timeout = TimeSpan.FromSeconds(60) };
        for (var i = 0; i < requestCount; i++)
        {
            var request = FuzzCorpus.Requests[random.Next(FuzzCorpus.Requests.Count)];
            // Whole ones, too: they are what damaged ones must not disturb.
            var damaged = random.Next(5) == 0 ? request : mutator.Damage(request);
            damaged = damaged with { Target = damaged.Target.Replace("JOB", _jobs.TryPeek(out var job) ? job : "job_none", StringComparison.Ordinal) };
            if (random.Next(RawShare) == 0) await SendRawAsync(mutator.DamageBytes(damaged));
            else await SendAsync(client, damaged, random.Next(GoneShare) == 0 ? TimeSpan.FromMilliseconds(random.Next(20)) : Timeout.InfiniteTimeSpan);
        }
    }

    private async Task SendAsync(HttpClient client, FuzzRequest request, TimeSpan patience)
    {
        using var message = request.ToMessage(_server.Address);
        if (message is null) return;
        using var gone = new CancellationTokenSource(patience);
        try
        {
            using var answer = await client.SendAsync(message, gone.Token);
            Check((int)answer.StatusCode, await answer.Content.ReadAsByteArrayAsync(gone.Token), request);
        }
        catch (OperationCanceledException) when (gone.IsCancellationRequested)
        {
            // That was the plan.
        }
        catch (HttpRequestException)
        {
            // The server closes on a request that it does not read to its end; whether the answer or the end comes first is chance.
            Count(Unanswered);
        }
    }

    private void Check(int status, byte[] body, FuzzRequest request)
    {
        Count(status);
        if (!s_documented.Contains(status) && !(status == 414 && request.Target.Length > 2000)) Assert.Fail($"{request.Method} {request.Target}: {status} {Encoding.UTF8.GetString(body)}");
        if (status == 202 && request.Target == "/v1/jobs") Remember(JsonDocument.Parse(body).RootElement.GetProperty("id").GetString()!);
        if (status < 400 || body.Length == 0) return;
        var text = Encoding.UTF8.GetString(body);
        var error = JsonDocument.Parse(body).RootElement;
        if (error.TryGetProperty("status", out _) && request.Target.StartsWith("/readyz", StringComparison.Ordinal)) return;
        var message = error.GetProperty("error") is { ValueKind: JsonValueKind.Object } detail ? detail.GetProperty("message") : error.GetProperty("error");
        Assert.That(message.GetString(), Is.Not.Empty.And.Not.Contain("\n").And.Not.Contain("Exception").And.Not.Contain(TestFiles.Root), text);
    }

    private void Remember(string job)
    {
        _jobs.Enqueue(job);
        if (_jobs.Count > 20) _jobs.TryDequeue(out _);
    }

    /// <summary>Sends bytes over a connection of their own and reads whatever comes until its end.</summary>
    private async Task SendRawAsync(byte[] bytes)
    {
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(_server.Address.Host, _server.Address.Port);
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        try
        {
            await socket.SendAsync(bytes, patience.Token);
            var answer = await ReadAsync(socket, patience.Token);
            if (answer.Length < StatusLine) return;
            var status = int.Parse(answer.AsSpan(^3..), CultureInfo.InvariantCulture);
            Count(status);
            Assert.That(s_documented.Concat(s_protocol), Does.Contain(status), () => Encoding.Latin1.GetString(bytes));
        }
        catch (SocketException)
        {
            // As above.
        }
    }

    private static async Task<byte[]> ReadAsync(Socket socket, CancellationToken patience)
    {
        var (start, rest) = (new byte[StatusLine], new byte[16 << 10]);
        var isOpen = true;
        for (var length = 0; ;)
        {
            var reading = socket.ReceiveAsync(length < StatusLine ? start.AsMemory(length) : rest, patience).AsTask();
            // A server that waits for more than was sent, or for another request, is told that there is no more.
            if (isOpen && await Task.WhenAny(reading, Task.Delay(20, patience)) != reading)
            {
                socket.Shutdown(SocketShutdown.Send);
                isOpen = false;
            }

            var count = await reading;
            if (count == 0) return start[..Math.Min(length, StatusLine)];
            length += count;
        }
    }

    /// <summary>Waits for the jobs that were accepted, and forgets them all.</summary>
    private async Task EndJobsAsync()
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            var jobs = (await _server.GetJsonAsync("/v1/jobs?limit=1000")).GetProperty("data").EnumerateArray().Select(j => j.GetProperty("id").GetString()).ToArray();
            if (jobs.Length == 0) break;
            foreach (var job in jobs)
            {
                using var answer = await _server.Client.DeleteAsync($"/v1/jobs/{job}");
                Assert.That((int)answer.StatusCode, Is.EqualTo(204));
            }
        }

        await ServerFixture.UntilAsync(() => _server.Model.Scheduler.Load is { QueuedRequests: 0, RunningRequests: 0, RunningImages: 0 } || watch.Elapsed > TimeSpan.FromMinutes(1));
    }

    private async Task<byte[]> ImageAsync()
    {
        var answer = await _server.PostJsonAsync("/v1/images/generations", """{"prompt":"3","seed":77,"steps":4}""");
        return answer.GetProperty("data")[0].GetProperty("b64_json").GetBytesFromBase64();
    }

    private void Count(int status) => _countOfStatus.AddOrUpdate(status, 1, static (_, count) => count + 1);
}
