using System.CommandLine;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Reporting;
using DiTRuntime.Cli.Quantizing;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit quantize</c>: a checkpoint into a packed file of 1 to 8 bits a weight.</summary>
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
        var report = Flags.OptionalText("--report", "Also write an HTML page into this folder", "DIR");
        var options = new QuantizeOptions();
        var command = new Command("quantize", "Make a checkpoint 2 to 16 times smaller") { model, heads, output, report };
        var search = new SearchOptions();
        foreach (var option in options.All.Concat(search.All)) command.Add(option);
        command.SetAction(parse =>
        {
            var session = open(parse);
            var settings = options.Read(parse);
            var path = parse.GetRequiredValue(output)!;
            var source = parse.GetValue(model) ?? ModelSource.BuiltIn;
            var folder = parse.GetValue(report);
            DiTWeights Open() => ModelSource.Open(source, parse.GetValue(heads));
            if (folder is not null && search.IsWanted(parse)) throw new UsageException("--report: the page is about a packed file; --search makes none");
            if (settings.Codebooks is not null && search.IsWanted(parse)) throw new UsageException($"--search: it looks for group sizes, which --method {settings.MethodName} has not");
            OutputProbe.Check(path);
            if (folder is not null) HtmlReport.Prepare(folder);
            if (!search.IsWanted(parse))
            {
                var made = Run(session, Open, settings, path);
                if (folder is not null) session.Note(QuantizePage.Save(folder, ModelSource.NameOf(source), settings, made));
            }
            else new SearchRun(session, Open, settings).Run(search.Read(parse, settings.Seed), new SearchRun.Measure(search.UsesFrechet(parse), search.Samples(parse), search.Steps(parse)), path);
            return (int)ExitCode.Ok;
        });
        return command;
    }

    private static QuantizeReport Run(Session session, Func<DiTWeights> open, QuantizeSettings settings, string output)
    {
        using var backend = session.CreateBackend();
        var quantizer = new ModelQuantizer(open, backend, session.ThreadCount, session.Note);
        QuantizeReport? report = null;
        session.WithProgress(display => report = quantizer.Run(
            settings, output, new DirectProgress<QuantizeProgress>(p => display.Report(p.Stage, p.Unit, p.Done, p.Total)), session.Cancellation));
        QuantizeTable.Print(session, output, settings, report!);
        return report!;
    }
}
