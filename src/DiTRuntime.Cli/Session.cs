using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;

namespace DiTRuntime.Cli;

/// <summary>What every command works with: the common options, the console and the cancellation.</summary>
internal sealed class Session(CliConsole console, CancellationToken cancellation)
{
    private static readonly JsonSerializerOptions s_json = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The value of --backend.</summary>
    public required string BackendName { get; init; }

    /// <summary>The value of --threads; 0 means one per processor.</summary>
    public required int ThreadCount { get; init; }

    /// <summary>Whether the answer is one JSON object.</summary>
    public required bool Json { get; init; }

    /// <summary>Whether notes and progress are off.</summary>
    public required bool Quiet { get; init; }

    /// <summary>Whether to say more.</summary>
    public required bool Verbose { get; init; }

    /// <summary>Cancelled by Ctrl-C.</summary>
    public CancellationToken Cancellation => cancellation;

    /// <summary>Makes the backend that --backend names.</summary>
    /// <exception cref="BackendUnavailableException">It exists, but not in this build.</exception>
    /// <exception cref="UsageException">There is no such backend.</exception>
    public IDiTBackend CreateBackend()
    {
        if (BackendName is "cuda" or "emulated") throw new BackendUnavailableException($"--backend {BackendName}: not in this build, which has only cpu");
        if (BackendName is not ("auto" or "cpu")) throw new UsageException($"--backend {BackendName}: expected auto or cpu");
        var backend = CpuBackend.Create(new CpuOptions(ThreadCount));
        backend.Cancellation = cancellation;
        return backend;
    }

    /// <summary>Writes a line of data.</summary>
    public void Print(string line) => console.Out.WriteLine(CliConsole.OneLine(line));

    /// <summary>Writes the one JSON object of a --json run.</summary>
    public void Print(JsonObject json) => console.Out.WriteLine(json.ToJsonString(s_json));

    /// <summary>Tells the user something that is not data, unless --quiet.</summary>
    public void Note(string line)
    {
        if (!Quiet) console.Error.WriteLine(CliConsole.OneLine(line));
    }

    /// <summary>Tells the user a detail, with --verbose.</summary>
    public void Detail(string line)
    {
        if (Verbose) Note(line);
    }

    /// <summary>Does work under a progress display, where a person watches.</summary>
    public void WithProgress(Action<IProgressDisplay> work)
    {
        if (console.ErrorIsTerminal && !Quiet) TerminalProgress.Run(console.Error, work);
        else work(NoProgress.Instance);
    }
}
