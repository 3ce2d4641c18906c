using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace DiTRuntime.Bench.Serve;

/// <summary>A running <c>dit serve</c> of its own: started on a free port, watched from outside, and ended by a signal.</summary>
internal sealed class ServerProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly Task _errors;

    private ServerProcess(Process process, Uri address)
    {
        (_process, Address) = (process, address);
        // Read on, or the pipe fills and the service stands still.
        _errors = process.StandardError.BaseStream.CopyToAsync(Stream.Null);
    }

    /// <summary>Where it listens.</summary>
    public Uri Address { get; }

    /// <summary>Resident memory in bytes.</summary>
    public long ResidentBytes => long.Parse(File.ReadLines($"/proc/{_process.Id}/status").First(line => line.StartsWith("VmRSS", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture) * 1024;

    /// <summary>Processor time so far.</summary>
    public TimeSpan ProcessorTime
    {
        get
        {
            _process.Refresh();
            return _process.TotalProcessorTime;
        }
    }

    /// <summary>Starts the service and waits until it is ready.</summary>
    /// <param name="dit">Path of dit.dll.</param>
    /// <param name="core">The core to pin it to; null for all.</param>
    /// <param name="flags">More flags of dit serve.</param>
    public static async Task<ServerProcess> StartAsync(string dit, int? core, params string[] flags)
    {
        string[] words = ["dotnet", dit, "serve", "--backend", "cpu", "--port", "0", "--json", .. flags];
        if (core is { } one) words = ["taskset", "-c", one.ToString(CultureInfo.InvariantCulture), .. words];
        var start = new ProcessStartInfo(words[0], words[1..]) { RedirectStandardOutput = true, RedirectStandardError = true };
        var process = Process.Start(start)!;
        var text = string.Empty;
        while (await process.StandardOutput.ReadLineAsync() is { } line)
        {
            text += line;
            if (line == "}") break;
        }

        if (text.Length == 0) throw new InvalidOperationException($"dit serve did not start: {await process.StandardError.ReadToEndAsync()}");
        using var json = JsonDocument.Parse(text);
        var server = new ServerProcess(process, new Uri(json.RootElement.GetProperty("url").GetString()!));
        using var http = new HttpClient { BaseAddress = server.Address };
        for (var patience = Stopwatch.StartNew(); ; await Task.Delay(50))
        {
            if ((await http.GetAsync("/readyz")).IsSuccessStatusCode) return server;
            if (patience.Elapsed > TimeSpan.FromMinutes(1)) throw new InvalidOperationException("dit serve is not ready after a minute");
        }
    }

    /// <summary>Ends it as an orchestrator does, and tells how it ended.</summary>
    public async Task<int> StopAsync()
    {
        using (var kill = Process.Start("kill", ["-TERM", _process.Id.ToString(CultureInfo.InvariantCulture)])) await kill.WaitForExitAsync();
        await _process.WaitForExitAsync();
        await _errors;
        return _process.ExitCode;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited) _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }
}
