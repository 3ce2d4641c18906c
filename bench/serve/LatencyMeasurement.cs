using System.Globalization;

namespace DiTRuntime.Bench.Serve;

/// <summary>What one image takes that somebody waits for, alone and beside others.</summary>
internal static class LatencyMeasurement
{
    private const int BulkClients = 2, BulkImages = 10, SmallClients = 2;
    private const double Bar = 3;

    /// <summary>Measures.</summary>
    public static async Task<Measurement> RunAsync(BenchOptions options, ServerProcess server)
    {
        var expected = ExpectedImages.Make(options.Dit, 40, options.Steps, options.Scale);
        using var client = new ServiceClient(server.Address, expected);
        var random = new Random(2);
        for (var i = 0; i < 3; i++) await client.AskAsync(random, 1);
        var alone = await ProbeAsync(client, random, options.Probes);

        using var stop = new CancellationTokenSource();
        Task[] others =
        [
            .. Enumerable.Range(0, BulkClients).Select(i => client.KeepAskingAsync(new Random(10 + i), () => BulkImages, stop.Token)),
            .. Enumerable.Range(0, SmallClients).Select(i => client.KeepAskingAsync(new Random(20 + i), () => 1, stop.Token)),
        ];
        await Task.Delay(TimeSpan.FromSeconds(2), CancellationToken.None);
        var beside = await ProbeAsync(client, random, options.Probes);
        await stop.CancelAsync();
        await Task.WhenAll(others);

        var ratio = beside.Quantile(0.99) / alone.Median();
        return new Measurement("Latency of one image", $"p99 under load at most {Bar} x the latency without", ratio <= Bar && client.Wrong + client.Lost == 0,
            string.Create(CultureInfo.InvariantCulture, $"{options.Steps} steps at scale {options.Scale}; {options.Probes} requests one after another, first alone, then beside {BulkClients} clients that always ask for {BulkImages} images and {SmallClients} that always ask for one"),
            new Dictionary<string, double>
            {
                ["alone, median ms"] = alone.Median(),
                ["alone, p99 ms"] = alone.Quantile(0.99),
                ["under load, median ms"] = beside.Median(),
                ["under load, p99 ms"] = beside.Quantile(0.99),
                ["p99 under load / median alone"] = ratio,
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
