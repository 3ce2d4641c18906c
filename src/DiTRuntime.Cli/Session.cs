using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using DiTRuntime.Backends;
using DiTRuntime.Cuda;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cli;

/// <summary>What every command works with: the common options, the console and the cancellation.</summary>
internal sealed class Session(CliConsole console, Action<TimeSpan>? askForTime, CancellationToken cancellation)
{
    private static readonly JsonSerializerOptions s_json = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private string? _announcement;

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

    /// <summary>Asks for time to end in after a signal, where an instant is not enough.</summary>
    public void AskForTime(TimeSpan grace) => askForTime?.Invoke(grace);

    /// <summary>Makes the backend that --backend names; auto takes a GPU where one can be used, and says which it took.</summary>
    /// <param name="options">Settings, where it is a GPU.</param>
    /// <exception cref="GpuUnavailableException">It cannot be used here; says why.</exception>
    /// <exception cref="UsageException">There is no such backend.</exception>
    public IDiTBackend CreateBackend(CudaOptions? options = null)
    {
        var backend = BackendChoice.Open(BackendName, ThreadCount, options, Announce);
        backend.Cancellation = cancellation;
        return backend;
    }

    /// <summary>Says what --backend auto took, if the run has not said it yet.</summary>
    public void Conclude()
    {
        if (_announcement is { } line) Note(line);
        _announcement = null;
    }

    /// <summary>A person hears it at once; a script at the end of a run that went well, because one that fails writes its error and nothing else.</summary>
    private void Announce(string line)
    {
        if (console.ErrorIsTerminal) Note(line);
        else _announcement = line;
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
