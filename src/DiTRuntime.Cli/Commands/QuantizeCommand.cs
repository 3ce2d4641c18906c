using System.CommandLine;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Cli.Quantizing;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit quantize</c>: a checkpoint into a packed file of 2 to 8 bits a weight.</summary>
internal static class QuantizeCommand
{
    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    public static Command Create(Func<ParseResult, Session> open)
    {
        var model = Flags.OptionalText("--model", "Checkpoint file or diffusers folder; the built-in digits when absent", "PATH", "-m");
        var heads = Flags.OptionalWhole("--heads", "Attention heads, where the checkpoint does not say");
        var output = Flags.OptionalText("--out", "Where to write the packed file; unfinished work is kept beside it, in FILE.work", "FILE", "-o");
        output.Required = true;
        var options = new QuantizeOptions();
        var command = new Command("quantize", "Make a checkpoint 2 to 8 times smaller") { model, heads, output };
        foreach (var option in options.All) command.Add(option);
        command.SetAction(parse =>
        {
            Run(open(parse), parse.GetValue(model) ?? ModelSource.BuiltIn, parse.GetValue(heads), options.Read(parse), parse.GetRequiredValue(output)!);
            return (int)ExitCode.Ok;
        });
        return command;
    }

    private static void Run(Session session, string modelPath, int? heads, QuantizeSettings settings, string output)
    {
        OutputProbe.Check(output);
        using var backend = session.CreateBackend();
        DiTWeights Open() => ModelSource.Open(modelPath, heads);
        var quantizer = new ModelQuantizer(Open, backend, session.ThreadCount, session.Note);
        QuantizeReport? report = null;
        session.WithProgress(display => report = quantizer.Run(
            settings, output, new DirectProgress<QuantizeProgress>(p => display.Report(p.Stage, p.Unit, p.Done, p.Total)), session.Cancellation));
        QuantizeTable.Print(session, output, settings, report!);
    }
}
