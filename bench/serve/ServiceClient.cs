using System.Diagnostics;
using System.Net;
using System.Text;
using System.Text.Json;

namespace DiTRuntime.Bench.Serve;

/// <summary>Asks for images, checks every one of them, and comes back when it is told to.</summary>
internal sealed class ServiceClient : IDisposable
{
    private readonly HttpClient _http;
    private readonly ExpectedImages _expected;
    private long _images, _wrong, _lost, _busy;

    /// <param name="address">Where the service listens.</param>
    /// <param name="expected">What its images are to be.</param>
    public ServiceClient(Uri address, ExpectedImages expected)
    {
        _expected = expected;
        _http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = int.MaxValue }) { BaseAddress = address, Timeout = TimeSpan.FromMinutes(10) };
    }

    /// <summary>Images that came and were right.</summary>
    public long Images => Interlocked.Read(ref _images);

    /// <summary>Answers with other images than were asked for.</summary>
    public long Wrong => Interlocked.Read(ref _wrong);

    /// <summary>Requests that failed or were not answered.</summary>
    public long Lost => Interlocked.Read(ref _lost);

    /// <summary>Times that the queue was full.</summary>
    public long Busy => Interlocked.Read(ref _busy);

    /// <summary>Asks for images until they come; a full queue is asked again when it says.</summary>
    /// <param name="random">Says which images.</param>
    /// <param name="count">How many.</param>
    /// <returns>What the answer took, from the request that was accepted.</returns>
    public async Task<TimeSpan> AskAsync(Random random, int count)
    {
        var first = random.Next(_expected.Count - count + 1);
        var body = _expected.Body(first, count);
        while (true)
        {
            var start = Stopwatch.GetTimestamp();
            try
            {
                using var content = new StringContent(body, Encoding.UTF8, "application/json");
                using var response = await _http.PostAsync("/v1/images/generations", content);
                if (response.StatusCode == HttpStatusCode.TooManyRequests && response.Headers.RetryAfter?.Delta is { } wait)
                {
                    Interlocked.Increment(ref _busy);
                    // Not all at the same moment.
                    await Task.Delay(wait * (1 + random.NextDouble() / 2));
                    continue;
                }

                response.EnsureSuccessStatusCode();
                await using var stream = await response.Content.ReadAsStreamAsync();
                using var answer = await JsonDocument.ParseAsync(stream);
                var elapsed = Stopwatch.GetElapsedTime(start);
                if (_expected.Matches(answer.RootElement, first, count)) Interlocked.Add(ref _images, count);
                else Interlocked.Increment(ref _wrong);
                return elapsed;
            }
            catch (Exception e) when (e is HttpRequestException or IOException or TaskCanceledException or JsonException)
            {
                Interlocked.Increment(ref _lost);
                Console.Error.WriteLine($"lost: {e.Message}");
                return Stopwatch.GetElapsedTime(start);
            }
        }
    }

    /// <summary>Asks again and again until it is told to stop; what was begun is finished.</summary>
    /// <param name="random">Says which images.</param>
    /// <param name="count">How many images the next request is for.</param>
    /// <param name="pause">What passes between two requests on average; exponentially distributed.</param>
    /// <param name="stop">Ends the asking.</param>
    public async Task KeepAskingAsync(Random random, Func<int> count, TimeSpan pause, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            await AskAsync(random, count());
            if (pause > TimeSpan.Zero) await Task.Delay(pause * -Math.Log(1 - random.NextDouble()), stop).ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();
}
