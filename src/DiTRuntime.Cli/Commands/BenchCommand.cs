using System.CommandLine;
using System.Text.Json.Nodes;
using DiTRuntime.Cuda.Benchmarks;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit bench</c>: checks the GPU's kernels against the CPU, then times them and whole sampling steps.</summary>
internal static class BenchCommand
{
    private static readonly string[] s_parts = ["check", "kernels", "steps"];

    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    public static Command Create(Func<ParseResult, Session> open)
    {
        var quick = Flags.Switch("--quick", "Tiny shapes: shows that everything runs, not how fast");
        var only = Flags.OptionalText("--only", "Parts to run; all when absent", string.Join(',', s_parts));
        var filter = Flags.OptionalText("--filter", "Only lines that contain this: qkv, w4a8, 'M 512', batch", "TEXT");
        var model = Flags.Text("--model", "Configuration whose shapes are measured, with synthetic weights", "NAME", "DiT-XL/2");
        var rounds = Flags.Whole("--rounds", "Times to take of each thing; --quick takes 3", 20);
        var scale = Flags.Number("--tolerance-scale", "Factor of the checks' tolerances", 1);
        var output = Flags.OptionalText("--out", "Folder for README.md and the CSV files; bench/results/<device> when absent", "DIR", "-o");
        var command = new Command("bench", "Check the GPU's kernels against the CPU, then time them and whole sampling steps") { quick, only, filter, model, rounds, scale, output };
        command.SetAction(parse =>
        {
            var parts = Parts(parse.GetValue(only));
            var count = parse.GetValue(rounds);
            if (count < 1) throw new UsageException($"--rounds {count}: expected at least 1");
            var settings = parse.GetValue(quick) ? BenchSettings.Quick : new BenchSettings { Config = DiTConfigs.Parse(parse.GetRequiredValue(model)), Rounds = count };
            settings = settings with
            {
                Checks = parts.Contains(s_parts[0]),
                Kernels = parts.Contains(s_parts[1]),
                Steps = parts.Contains(s_parts[2]),
                Filter = parse.GetValue(filter),
                ToleranceScale = parse.GetValue(scale),
            };
            Run(open(parse), settings, parse.GetValue(output), "dit " + string.Join(' ', parse.Tokens.Select(token => token.Value)));
            return (int)ExitCode.Ok;
        });
        return command;
    }

    private static string[] Parts(string? text)
    {
        if (text is null) return s_parts;
        var parts = text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        return parts.Length > 0 && parts.All(s_parts.Contains) ? parts : throw new UsageException($"--only {text}: expected some of {string.Join(", ", s_parts)}");
    }

    private static void Run(Session session, BenchSettings settings, string? output, string commandLine)
    {
        if (session.BackendName == "emulated" && !settings.IsQuick && (settings.Kernels || settings.Steps))
            throw new UsageException("--backend emulated is timed with --quick alone: it runs kernels on a processor");
        using var engine = session.BackendName switch
        {
            "auto" or "cuda" => BenchEngine.OpenGpu(),
            "emulated" => BenchEngine.OpenEmulated(),
            _ => throw new UsageException($"--backend {session.BackendName}: bench measures the cuda backend; expected cuda or emulated"),
        };
        var machine = BenchMachine.Describe(engine.Device, engine.Compiler, commandLine);
        var bench = new GpuBench(engine.Device, engine.Compiler, settings) { Product = engine.Product, ProductProblem = engine.ProductProblem, Note = session.Note };
        var results = bench.Run(session.Cancellation);
        var report = new BenchReport(machine, settings, results);
        var files = report.Write(output ?? Path.Combine("bench", "results", machine.Slug));
        // A failed check ends with one line of error; what failed is in the files.
        if (results.Failures.Count > 0)
        {
            throw new QualityBarException(
                $"{results.Failures.Count} of {results.Checks!.Count} checks failed, so nothing was timed: {string.Join("; ", results.Failures.Take(3).Select(check => $"{check.Operation} {check.Format}"))}{(results.Failures.Count > 3 ? ", ..." : "")} (see {files[0]})");
        }

        if (session.Json) session.Print(Json(machine, report, files));
        else foreach (var line in File.ReadLines(files[0])) session.Print(line);
    }

    private static JsonObject Json(BenchMachine machine, BenchReport report, IReadOnlyList<string> files) => new()
    {
        ["device"] = machine.Device.Name,
        ["driver"] = machine.Driver,
        ["compiler"] = machine.Compiler,
        ["commit"] = machine.Commit,
        ["checks"] = Table(report.CheckLines),
        ["kernels"] = Table(report.KernelLines),
        ["steps"] = Table(report.StepLines),
        ["files"] = new JsonArray([.. files.Select(file => JsonValue.Create(file))]),
    };

    /// <summary>Lines of CSV as arrays, the first the columns' names.</summary>
    private static JsonArray Table(IEnumerable<IReadOnlyList<string>> lines) =>
        new([.. lines.Select(line => new JsonArray([.. line.Select(cell => JsonValue.Create(cell))]))]);
}
