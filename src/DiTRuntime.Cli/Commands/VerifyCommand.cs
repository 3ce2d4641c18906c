using System.CommandLine;
using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Cli.Evaluation;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit verify</c>: how far a model is from the one it was made from.</summary>
internal static class VerifyCommand
{
    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    public static Command Create(Func<ParseResult, Session> open)
    {
        var defaults = new ComparisonSettings();
        var reference = new Argument<string>("REFERENCE") { Description = "The model that is right" };
        var candidate = new Argument<string>("CANDIDATE") { Description = "The model to compare with it" };
        var steps = Flags.Whole("--steps", "Sampling steps", defaults.Steps);
        var samples = Flags.Whole("--samples", "Images", defaults.Samples);
        var seed = Flags.Long("--seed", "Seed; image i is seeded with seed + i", 0);
        var scale = Flags.Number("--cfg-scale", "Guidance scale; 1 turns guidance off", defaults.GuidanceScale);
        var vae = Flags.OptionalText("--vae", "Decoder file or folder; without it, images of models that work on latents are not compared", "PATH");
        var compat = Flags.Choice("--compat", "Which published implementation to agree with", "official", "diffusers");
        var heads = Flags.OptionalWhole("--heads", "Attention heads, where a checkpoint does not say");
        var minSnr = Flags.OptionalNumber("--min-snr", "Fail with 6 when the final latents have less, in dB");
        var maxEps = Flags.OptionalNumber("--max-eps-mse", "Fail with 6 when the predicted noise has a larger mean squared error");
        var report = Flags.OptionalText("--report", "Also write an HTML page into this folder", "DIR");
        var command = new Command("verify", "Compare a model with its reference") { reference, candidate, steps, samples, seed, scale, vae, compat, heads, minSnr, maxEps, report };
        command.SetAction(parse =>
        {
            var options = new VerifyOptions
            {
                Reference = parse.GetRequiredValue(reference),
                Candidate = parse.GetRequiredValue(candidate),
                Settings = new ComparisonSettings(parse.GetValue(steps), parse.GetValue(samples), Flags.Seed(parse.GetValue(seed)), (float)parse.GetValue(scale)),
                Vae = parse.GetValue(vae),
                Compatibility = Flags.Compatibility(parse, compat),
                Heads = parse.GetValue(heads),
                MinSnr = parse.GetValue(minSnr),
                MaxEpsMse = parse.GetValue(maxEps),
                Report = parse.GetValue(report),
            };
            new VerifyRun(options, open(parse)).Execute();
            return (int)ExitCode.Ok;
        });
        return command;
    }
}
