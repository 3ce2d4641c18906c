using System.CommandLine;
using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Cli.Evaluation;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit eval</c>: how good images are, as the ADM evaluator measures it; or a table of digit models.</summary>
internal static class EvalCommand
{
    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    public static Command Create(Func<ParseResult, Session> open)
    {
        var defaults = new DigitSettings();
        var paths = new Argument<string[]>("REF SAMPLES")
        {
            Description = "Each an .npz (arr_0, or mu and sigma) or a folder of PNG files; SAMPLES alone is compared with real digits. With --digits: models, the reference first",
            Arity = ArgumentArity.OneOrMore,
        };
        var digits = Flags.Switch("--digits", "Measure digit models instead: draw, judge, and compare with the first");
        var features = Flags.Choice("--features", "What looks at the images: inception when --inception is given, else the built-in digit judge", "auto", "judge", "inception");
        var inception = Flags.OptionalText("--inception", "Weights of the FID's InceptionV3 (safetensors or .pt)", "FILE");
        var samples = Flags.Whole("--samples", "With --digits: images", defaults.Samples);
        var steps = Flags.Whole("--steps", "With --digits: sampling steps", defaults.Steps);
        var scale = Flags.Number("--cfg-scale", "With --digits: guidance scale; 1 turns guidance off", defaults.GuidanceScale);
        var seed = Flags.Long("--seed", "With --digits: seed; image i is seeded with seed + i", (long)defaults.Seed);
        var heads = Flags.OptionalWhole("--heads", "With --digits: attention heads, where a checkpoint does not say");
        var report = Flags.OptionalText("--report", "With --digits: also write an HTML page into this folder", "DIR");
        var command = new Command("eval", "Measure images (Fréchet distance, inception score, precision, recall) or digit models")
        {
            paths, digits, features, inception, samples, steps, scale, seed, heads, report,
        };
        command.SetAction(parse =>
        {
            var session = open(parse);
            var given = parse.GetRequiredValue(paths);
            if (parse.GetValue(digits))
            {
                var settings = new DigitSettings(parse.GetValue(samples), parse.GetValue(steps), (float)parse.GetValue(scale), Flags.Seed(parse.GetValue(seed)));
                new DigitsRun(given, settings, parse.GetValue(heads), parse.GetValue(report), session).Execute();
            }
            else
            {
                if (parse.GetValue(report) is not null) throw new UsageException("--report: only a comparison of models (--digits) has one");
                new ImagesRun(given, parse.GetRequiredValue(features), parse.GetValue(inception), session).Execute();
            }

            return (int)ExitCode.Ok;
        });
        return command;
    }
}
