using System.CommandLine;

namespace DiTRuntime.Cli;

/// <summary>The options that every command takes.</summary>
internal sealed class CommonOptions
{
    private readonly Option<string> _backend = Flags.Text("--backend", "What runs the model", "auto|cpu|cuda|emulated", "auto");
    private readonly Option<int> _threads = Flags.Whole("--threads", "Threads of the cpu backend; 0 means one per processor", 0);
    private readonly Option<bool> _json = Flags.Switch("--json", "Print one JSON object on standard output");
    private readonly Option<bool> _quiet = Flags.Switch("--quiet", "No progress and no notes on standard error");
    private readonly Option<bool> _verbose = Flags.Switch("--verbose", "More detail, and where an error arose");

    /// <summary>Makes the options known to a command and all below it.</summary>
    public void AddTo(Command root)
    {
        foreach (Option option in new Option[] { _backend, _threads, _json, _quiet, _verbose })
        {
            option.Recursive = true;
            root.Add(option);
        }
    }

    /// <summary>Whether --verbose was given; also for a command line that does not parse.</summary>
    public bool IsVerbose(ParseResult parse) => parse.GetResult(_verbose) is not null && parse.GetValue(_verbose);

    /// <summary>What a command works with.</summary>
    public Session Open(ParseResult parse, CliConsole console, Action<TimeSpan>? askForTime, CancellationToken cancellation) => new(console, askForTime, cancellation)
    {
        BackendName = parse.GetRequiredValue(_backend),
        ThreadCount = parse.GetValue(_threads),
        Json = parse.GetValue(_json),
        Quiet = parse.GetValue(_quiet),
        Verbose = parse.GetValue(_verbose),
    };
}
