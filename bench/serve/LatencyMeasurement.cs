using System.Globalization;

namespace DiTRuntime.Bench.Serve;

/// <summary>What one image takes that somebody waits for, alone and beside others.</summary>
internal static class LatencyMeasurement
{
    private const int BulkClients = 2, BulkImages = 10;
    private const double Bar = 3;

    /// <summary>Measures.</summary>
    public static async Task<Measurement> RunAsync(BenchOptions options, ServerProcess server)
    {
        var expected = ExpectedImages.Make(options.Dit, 40, options.Steps, options.Scale);
        using var client = new ServiceClient(server.Address, expected);
        var random = new Random(2);
        for (var i = 0; i < 3; i++) await client.AskAsync(random, 1);
        var alone = await ProbeAsync(client, random, options.Probes);

        var pause = TimeSpan.FromMilliseconds(alone.Median() * options.Pause);
        using var stop = new CancellationTokenSource();
        var bulk = Enumerable.Range(0, BulkClients).Select(i => client.KeepAskingAsync(new Random(10 + i), () => BulkImages, TimeSpan.Zero, stop.Token)).ToArray();
        await Task.Delay(TimeSpan.FromSeconds(2), CancellationToken.None);
        var besideBulk = await ProbeAsync(client, random, options.Probes);
        var small = Enumerable.Range(0, options.SmallClients).Select(i => client.KeepAskingAsync(new Random(20 + i), () => 1, pause, stop.Token)).ToArray();
        var beside = await ProbeAsync(client, random, options.Probes);
        await stop.CancelAsync();
        await Task.WhenAll([.. bulk, .. small]);

        var ratio = beside.Quantile(0.99) / alone.Median();
        return new Measurement("Latency of one image", $"p99 under load at most {Bar} x the latency without", ratio <= Bar && client.Wrong + client.Lost == 0,
            string.Create(CultureInfo.InvariantCulture, $"{options.Steps} steps at scale {options.Scale}; {options.Probes} requests one after another: alone; beside bulk, which is {BulkClients} clients that always ask for {BulkImages} images; beside bulk and {options.SmallClients} more clients that ask for one image and pause, {pause.TotalSeconds:0.0} s on average ({options.Pause} x the latency alone)"),
            new Dictionary<string, double>
            {
                ["alone, median ms"] = alone.Median(),
                ["alone, p99 ms"] = alone.Quantile(0.99),
                ["beside bulk, median ms"] = besideBulk.Median(),
                ["beside bulk, p99 ms"] = besideBulk.Quantile(0.99),
                ["beside bulk and small, median ms"] = beside.Median(),
                ["beside bulk and small, p99 ms"] = beside.Quantile(0.99),
                ["p99 beside bulk / median alone"] = besideBulk.Quantile(0.99) / alone.Median(),
                ["p99 beside bulk and small / median alone"] = ratio,
                ["wrong or lost"] = client.Wrong + client.Lost,
            });
    }

    private static async Task<List<double>> ProbeAsync(ServiceClient client, Random random, int count)
    {
        var milliseconds = new List<double>();
        for (var i = 0; i < count; i++) milliseconds.Add((await client.AskAsync(random, 1)).TotalMilliseconds);
        return milliseconds;
    }
}
