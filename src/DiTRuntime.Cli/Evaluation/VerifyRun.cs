using System.Globalization;
using System.Text.Json.Nodes;
using DiTRuntime.Backends;
using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Decoding;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Evaluation;

/// <summary>What the command line of <c>dit verify</c> says.</summary>
internal sealed record VerifyOptions
{
    public required string Reference { get; init; }

    public required string Candidate { get; init; }

    public required ComparisonSettings Settings { get; init; }

    public string? Vae { get; init; }

    public Compatibility Compatibility { get; init; }

    public int? Heads { get; init; }

    public double? MinSnr { get; init; }

    public double? MaxEpsMse { get; init; }

    public string? Report { get; init; }
}

/// <summary>Compares two models and holds the result against the bars.</summary>
internal sealed class VerifyRun(VerifyOptions options, Session session)
{
    /// <summary>Runs the comparison and prints it.</summary>
    /// <exception cref="QualityBarException">A bar was missed.</exception>
    public void Execute()
    {
        if (options.Report is { } folder) ComparisonReport.Prepare(folder);
        using var backend = session.CreateBackend();
        using var reference = Open(options.Reference, backend);
        using var candidate = Open(options.Candidate, backend);
        ModelComparison.CheckArchitectures(reference.Config, candidate.Config);
        using var decoder = OpenDecoder(reference.Config, backend);
        ComparisonResult? compared = null;
        session.WithProgress(display => compared = ModelComparison.Run(
            reference, candidate, options.Settings, decoder, new DirectProgress<(int Done, int Total)>(p => display.Report("comparing", "steps", p.Done, p.Total))));
        var result = compared!;
        if (session.Json) session.Print(Json(result));
        else Print(result);
        if (options.Report is { } target) session.Note(ComparisonReport.Save(target, options, result));
        CheckBars(result);
    }

    private DiTModel Open(string path, IDiTBackend backend) => new(ModelSource.Open(path, options.Heads), backend, options.Compatibility);

    private IImageDecoder? OpenDecoder(DiTConfig config, IDiTBackend backend) =>
        options.Vae is null && !ModelSource.IsPixelSpace(config) ? null : ModelSource.OpenDecoder(options.Reference, options.Vae, config, backend);

    private void Print(ComparisonResult result)
    {
        session.Print($"noise error (MSE)      {Text(result.EpsMse)}");
        session.Print($"final latents          {result.FinalLatentSnrDecibels:F2} dB SNR");
        session.Print($"images                 {(result.ImagePsnrDecibels is { } psnr ? $"{psnr:F2} dB PSNR" : "not compared; --vae gives the decoder")}");
        session.Print("");
        session.Print("block      cosine   SNR dB");
        foreach (var block in result.Blocks) session.Print($"{block.Index,5}  {block.Cosine,10:F7}  {block.SnrDecibels,7:F2}");
        session.Print("");
        session.Print(" step      eps MSE   SNR dB");
        foreach (var step in result.Timesteps) session.Print($"{step.Timestep,5}  {Text(step.EpsMse),11}  {step.SnrDecibels,7:F2}");
    }

    private JsonObject Json(ComparisonResult result) => new()
    {
        ["reference"] = options.Reference,
        ["candidate"] = options.Candidate,
        ["steps"] = options.Settings.Steps,
        ["samples"] = options.Settings.Samples,
        ["seed"] = options.Settings.Seed,
        ["cfg_scale"] = options.Settings.GuidanceScale,
        ["eps_mse"] = JsonNumber.Of(result.EpsMse),
        ["final_latent_snr_db"] = result.FinalLatentSnrDecibels,
        ["image_psnr_db"] = result.ImagePsnrDecibels,
        ["blocks"] = new JsonArray([.. result.Blocks.Select(block => (JsonNode)new JsonObject
        {
            ["index"] = block.Index,
            ["cosine"] = JsonNumber.Of(block.Cosine),
            ["snr_db"] = block.SnrDecibels,
        })]),
        ["timesteps"] = new JsonArray([.. result.Timesteps.Select(step => (JsonNode)new JsonObject
        {
            ["timestep"] = step.Timestep,
            ["eps_mse"] = JsonNumber.Of(step.EpsMse),
            ["snr_db"] = step.SnrDecibels,
        })]),
    };

    /// <summary>What is no number misses every bar.</summary>
    private void CheckBars(ComparisonResult result)
    {
        var missed = new List<string>();
        if (options.MinSnr is { } minimum && !(result.FinalLatentSnrDecibels >= minimum))
            missed.Add($"the final latents have {result.FinalLatentSnrDecibels:F2} dB, --min-snr asks for {minimum}");
        if (options.MaxEpsMse is { } maximum && !(result.EpsMse <= maximum))
            missed.Add($"the noise error is {Text(result.EpsMse)}, --max-eps-mse allows {maximum}");
        if (missed.Count > 0) throw new QualityBarException($"{options.Candidate}: {string.Join("; ", missed)}");
    }

    private static string Text(double value) => value.ToString("0.000e+0", CultureInfo.InvariantCulture);
}
