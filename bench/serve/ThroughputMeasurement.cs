using System.Diagnostics;
using System.Globalization;

namespace DiTRuntime.Bench.Serve;

/// <summary>Images a second: the same images by <c>dit generate</c>, at the best of a few batch sizes, and by the service, in turn.</summary>
internal static class ThroughputMeasurement
{
    private const int ImagesPerRequest = 10;
    private const double Bar = 0.9;

    private static readonly int[] s_batches = [1, 2, 4, 8, 16];

    /// <summary>Measures.</summary>
    public static async Task<Measurement> RunAsync(BenchOptions options, ServerProcess server)
    {
        var expected = ExpectedImages.Make(options.Dit, options.Images, options.Steps, options.Scale);
        using var client = new ServiceClient(server.Address, expected);
        // The offline program without any batch size chooses one as well; a few are tried so that the service is compared with the best.
        var tried = s_batches.ToDictionary(b => b, b => options.Images / Offline(options, b));
        var batch = tried.MaxBy(one => one.Value).Key;
        await ServedAsync(client, expected);
        var offline = new List<double>();
        var served = new List<double>();
        var (before, clientBefore) = (server.ProcessorTime, Process.GetCurrentProcess().TotalProcessorTime);
        for (var round = 0; round < options.Rounds; round++)
        {
            offline.Add(options.Images / Offline(options, batch));
            served.Add(options.Images / await ServedAsync(client, expected));
        }

        var ratio = offline.Zip(served, (o, s) => s / o).Median();
        return new Measurement("Throughput", $"service at least {Bar:P0} of offline", ratio >= Bar && client.Wrong + client.Lost == 0,
            string.Create(CultureInfo.InvariantCulture, $"{options.Images} images of {options.Steps} steps at scale {options.Scale}; offline in batches of {batch} (best of {string.Join(", ", tried.Select(one => string.Create(CultureInfo.InvariantCulture, $"{one.Key}: {one.Value:0.00} images/s")))}), served as {options.Images / ImagesPerRequest} requests of {ImagesPerRequest} at once; medians of {options.Rounds} rounds in turn"),
            new Dictionary<string, double>
            {
                ["offline images/s"] = offline.Median(),
                ["served images/s"] = served.Median(),
                ["served / offline"] = ratio,
                ["lowest ratio of a round"] = offline.Zip(served, (o, s) => s / o).Min(),
                ["service processor s"] = (server.ProcessorTime - before).TotalSeconds,
                ["client processor s"] = (Process.GetCurrentProcess().TotalProcessorTime - clientBefore).TotalSeconds,
                ["wrong or lost"] = client.Wrong + client.Lost,
            });
    }

    private static double Offline(BenchOptions options, int batch)
    {
        var folder = Directory.CreateTempSubdirectory("serve-bench-");
        try
        {
            return ExpectedImages.Offline(options.Dit, options.Images, options.Steps, options.Scale, ["--batch", batch.ToString(CultureInfo.InvariantCulture), "--npz", Path.Combine(folder.FullName, "x.npz")]);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static async Task<double> ServedAsync(ServiceClient client, ExpectedImages expected)
    {
        var random = new Random(1);
        var start = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, expected.Count / ImagesPerRequest).Select(_ => client.AskAsync(random, ImagesPerRequest)));
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
