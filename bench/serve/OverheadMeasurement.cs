using System.Diagnostics;
using System.Globalization;

namespace DiTRuntime.Bench.Serve;

/// <summary>Requests that make no image, asked while the service generates: the service on one core, the client on another.</summary>
internal static class OverheadMeasurement
{
    /// <summary>Word that makes this program a pinned client.</summary>
    public const string ProbeWord = "probe";

    private const int ServiceCore = 0, ClientCore = 1, Connections = 32;
    private const double Bar = 5000;

    /// <summary>Measures.</summary>
    public static async Task<Measurement> RunAsync(BenchOptions options)
    {
        await using var server = await ServerProcess.StartAsync(options.Dit, ServiceCore, "--threads", "1");
        var expected = ExpectedImages.Make(options.Dit, 20, options.Steps, options.Scale);
        using var client = new ServiceClient(server.Address, expected);
        using var stop = new CancellationTokenSource();
        Task[] clients = [.. Enumerable.Range(0, 2).Select(i => client.KeepAskingAsync(new Random(i), () => 4, TimeSpan.Zero, stop.Token))];
        var numbers = new Dictionary<string, double>();
        foreach (var path in new[] { "/healthz", "/metrics" }) numbers[$"{path} requests/s"] = await PinnedAsync(server.Address, path, options.OverheadTime);
        await stop.CancelAsync();
        await Task.WhenAll(clients);
        numbers["images made meanwhile"] = client.Images;
        numbers["wrong or lost"] = client.Wrong + client.Lost;
        return new Measurement("Overhead", $"at least {Bar} requests a second on one core while generating", numbers["/healthz requests/s"] >= Bar && numbers["/metrics requests/s"] >= Bar && client.Wrong + client.Lost == 0,
            string.Create(CultureInfo.InvariantCulture, $"service pinned to core {ServiceCore} with one thread for the model, generating throughout; {Connections} connections of a client pinned to core {ClientCore}; {options.OverheadTime.TotalSeconds:0} s each"),
            numbers);
    }

    /// <summary>The pinned client: asks one path over some connections, and prints requests a second.</summary>
    public static async Task<int> ProbeAsync(string url, double seconds)
    {
        using var http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = Connections });
        long done = 0;
        using var stop = new CancellationTokenSource(TimeSpan.FromSeconds(seconds));
        var start = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, Connections).Select(async _ =>
        {
            while (!stop.IsCancellationRequested)
            {
                using var response = await http.GetAsync(url, HttpCompletionOption.ResponseContentRead, CancellationToken.None);
                response.EnsureSuccessStatusCode();
                Interlocked.Increment(ref done);
            }
        }));
        Console.WriteLine((done / Stopwatch.GetElapsedTime(start).TotalSeconds).ToString(CultureInfo.InvariantCulture));
        return 0;
    }

    private static async Task<double> PinnedAsync(Uri address, string path, TimeSpan time)
    {
        string[] words =
        [
            "-c", ClientCore.ToString(CultureInfo.InvariantCulture), "dotnet", Environment.GetCommandLineArgs()[0], ProbeWord, new Uri(address, path).AbsoluteUri, time.TotalSeconds.ToString(CultureInfo.InvariantCulture),
        ];
        using var process = Process.Start(new ProcessStartInfo("taskset", words) { RedirectStandardOutput = true })!;
        var text = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? double.Parse(text, CultureInfo.InvariantCulture) : 0;
    }
}
