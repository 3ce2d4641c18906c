using System.Diagnostics;
using System.Globalization;

namespace DiTRuntime.Bench.Serve;

/// <summary>Many clients at once: every request ends in its own images, however often a full queue sends it away.</summary>
internal static class CrowdMeasurement
{
    /// <summary>Measures.</summary>
    public static async Task<Measurement> RunAsync(BenchOptions options, ServerProcess server)
    {
        var expected = ExpectedImages.Make(options.Dit, 200, options.CrowdSteps, options.Scale);
        using var client = new ServiceClient(server.Address, expected);
        using var stop = new CancellationTokenSource(options.CrowdTime);
        var (before, clientBefore) = (server.ProcessorTime, Process.GetCurrentProcess().TotalProcessorTime);
        var clock = Stopwatch.StartNew();
        // Every tenth client wants four images, the others one.
        await Task.WhenAll(Enumerable.Range(0, options.Clients).Select(i => client.KeepAskingAsync(new Random(i), () => i % 10 == 0 ? 4 : 1, TimeSpan.Zero, stop.Token)));
        return new Measurement("Crowd", "none lost, none mixed up", client.Wrong + client.Lost == 0 && client.Images > 0,
            string.Create(CultureInfo.InvariantCulture, $"{options.Clients} clients, each asking again as soon as it is answered, for {options.CrowdTime.TotalSeconds:0} s and until the last request is answered; {options.CrowdSteps} steps at scale {options.Scale}; every file compared with that of dit generate"),
            new Dictionary<string, double>
            {
                ["clients"] = options.Clients,
                ["images, each right"] = client.Images,
                ["wrong"] = client.Wrong,
                ["lost"] = client.Lost,
                ["sent away by a full queue (429), asked again"] = client.Busy,
                ["images/s"] = client.Images / clock.Elapsed.TotalSeconds,
                ["seconds until the last answer"] = clock.Elapsed.TotalSeconds,
                ["service processor s"] = (server.ProcessorTime - before).TotalSeconds,
                ["client processor s"] = (Process.GetCurrentProcess().TotalProcessorTime - clientBefore).TotalSeconds,
            });
    }
}
