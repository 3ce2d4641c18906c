using System.Globalization;

namespace DiTRuntime.Bench.Serve;

/// <summary>Resident memory of the service under steady load.</summary>
internal static class MemoryMeasurement
{
    private const double Bar = 0.05;

    /// <summary>Measures.</summary>
    public static async Task<Measurement> RunAsync(BenchOptions options, ServerProcess server)
    {
        var expected = ExpectedImages.Make(options.Dit, 100, options.CrowdSteps, options.Scale);
        using var client = new ServiceClient(server.Address, expected);
        using var stop = new CancellationTokenSource();
        Task[] clients = [.. Enumerable.Range(0, 16).Select(i => client.KeepAskingAsync(new Random(i), () => i % 4 == 0 ? 10 : 1, TimeSpan.Zero, stop.Token))];
        await Task.Delay(options.WarmUp, CancellationToken.None);
        var megabytes = new List<double>();
        for (var end = DateTime.UtcNow + options.MemoryTime; DateTime.UtcNow < end; await Task.Delay(TimeSpan.FromSeconds(1), CancellationToken.None)) megabytes.Add(server.ResidentBytes / 1e6);
        await stop.CancelAsync();
        await Task.WhenAll(clients);

        var middle = (megabytes.Max() + megabytes.Min()) / 2;
        var spread = (megabytes.Max() - middle) / middle;
        var half = megabytes.Count / 2;
        return new Measurement("Memory", $"within {Bar:P0} up and down", spread <= Bar && client.Wrong + client.Lost == 0,
            string.Create(CultureInfo.InvariantCulture, $"{options.MemoryTime.TotalMinutes:0.#} min after {options.WarmUp.TotalSeconds:0} s of warming up; 4 clients that always ask for 10 images, 12 for one, {options.CrowdSteps} steps; resident memory once a second"),
            new Dictionary<string, double>
            {
                ["least MB"] = megabytes.Min(),
                ["most MB"] = megabytes.Max(),
                ["up and down of the middle"] = spread,
                ["first half, median MB"] = megabytes.Take(half).Median(),
                ["second half, median MB"] = megabytes.Skip(half).Median(),
                ["images made meanwhile"] = client.Images,
                ["wrong or lost"] = client.Wrong + client.Lost,
            });
    }
}
