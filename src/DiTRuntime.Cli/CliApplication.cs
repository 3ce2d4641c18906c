using System.CommandLine;
using System.CommandLine.Invocation;
using DiTRuntime.Cli.Commands;
using DiTRuntime.Cuda.Planning;

namespace DiTRuntime.Cli;

/// <summary>The <c>dit</c> command: parses, runs one sub-command, and turns every outcome into an exit code.</summary>
internal static class CliApplication
{
    /// <summary>Runs one command line.</summary>
    /// <param name="arguments">The words after the program's name.</param>
    /// <param name="console">Where to write.</param>
    /// <param name="cancellation">Cancelled by Ctrl-C; the command then ends with 130.</param>
    /// <param name="askForTime">Told how long the command may need to end after <paramref name="cancellation"/>, where that is longer than an instant.</param>
    /// <returns>An <see cref="ExitCode"/>. Every failure writes exactly one line to standard error (more with --verbose).</returns>
    public static int Run(IReadOnlyList<string> arguments, CliConsole console, CancellationToken cancellation, Action<TimeSpan>? askForTime = null)
    {
        var common = new CommonOptions();
        Session? session = null;
        var root = CreateRoot(common, parse => session = common.Open(parse, console, askForTime, cancellation));
        // A word that begins with @ is a file name like any other.
        var parse = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        try
        {
            if (parse.Action is ParseErrorAction or null) throw new UsageException(ParseProblem(parse));
            var code = parse.Invoke(new InvocationConfiguration
            {
                Output = console.Out,
                Error = console.Error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            });
            session?.Conclude();
            return code;
        }
        catch (Exception e)
        {
            return (int)Report(e, console, common.IsVerbose(parse));
        }
    }

    private static RootCommand CreateRoot(CommonOptions common, Func<ParseResult, Session> open)
    {
        var root = new RootCommand("Runs class-conditional diffusion transformers (DiT-XL/2 and its family) without Python.");
        common.AddTo(root);
        root.Add(GenerateCommand.Create(open));
        root.Add(MergeCommand.Create(open));
        root.Add(QuantizeCommand.Create(open));
        root.Add(ExportCommand.Create(open));
        root.Add(ServeCommand.Create(open));
        root.Add(InspectCommand.Create(open));
        root.Add(ForwardCommand.Create(open));
        root.Add(SynthesizeCommand.Create(open));
        root.Add(VerifyCommand.Create(open));
        root.Add(EvalCommand.Create(open));
        root.Add(DevicesCommand.Create(open));
        root.Add(BenchCommand.Create(open));
        root.Add(KernelsCommand.Create(open, KernelPlan.For));
        return root;
    }

    private static string ParseProblem(ParseResult parse)
    {
        var command = parse.CommandResult.Command;
        if (command is RootCommand && parse.Tokens.Count == 0) return "no command given; dit --help lists them";
        var help = command is RootCommand ? "dit --help" : $"dit {command.Name} --help";
        // The parser also reports what follows from the unknown word; the word itself says more.
        var message = parse.UnmatchedTokens.Count > 0 ? $"'{parse.UnmatchedTokens[0]}' is unknown here"
            : parse.Errors.Count > 0 ? parse.Errors[0].Message.TrimEnd('.')
            : "the command cannot be run as written";
        return $"{message} (see {help})";
    }

    private static ExitCode Report(Exception exception, CliConsole console, bool verbose)
    {
        var (message, code) = exception switch
        {
            DiTException e => (e.Message, e.ExitCode),
            OperationCanceledException => ("cancelled", ExitCode.Cancelled),
            OutOfMemoryException => ("out of memory; a smaller --batch needs less", ExitCode.OutOfMemory),
            _ => ($"{exception.Message} ({exception.GetType().Name}; --verbose shows where)", ExitCode.Failure),
        };
        console.Error.WriteLine("dit: " + CliConsole.OneLine(message));
        if (verbose && exception is not OperationCanceledException) console.Error.WriteLine(exception);
        return code;
    }
}
