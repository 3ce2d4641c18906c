using DiTRuntime.Decoding;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>How two models are compared.</summary>
/// <param name="Steps">Steps of the DDIM trajectory, leading spacing.</param>
/// <param name="Samples">Images; their classes go through all the model has, in even steps.</param>
/// <param name="Seed">Image i starts from the noise of seed + i.</param>
/// <param name="GuidanceScale">s of classifier-free guidance; 1 turns it off.</param>
public sealed record ComparisonSettings(int Steps = 20, int Samples = 4, ulong Seed = 0, float GuidanceScale = 1.5f)
{
    /// <summary>The class of an image.</summary>
    public int LabelOf(int image, int classCount) => (int)(image * (long)Math.Max(1, classCount / Math.Max(1, Samples)) % classCount);
}

/// <summary>What comes out of a block, candidate against reference, over all timesteps and samples.</summary>
/// <param name="Index">The block; −1 is the patch embedding.</param>
/// <param name="Cosine">Of all values as one vector.</param>
/// <param name="SnrDecibels">Signal over error, at most 200.</param>
public sealed record BlockError(int Index, double Cosine, double SnrDecibels);

/// <summary>The predicted noise at one timestep.</summary>
/// <param name="Timestep">Training timestep.</param>
/// <param name="EpsMse">Mean squared error of the predicted noise.</param>
/// <param name="SnrDecibels">Its signal over error, at most 200.</param>
public sealed record TimestepError(int Timestep, double EpsMse, double SnrDecibels);

/// <summary>Two images from the same noise.</summary>
/// <param name="Label">Their class.</param>
/// <param name="Reference">[side, side, channels], nominally in [−1, 1].</param>
/// <param name="Candidate">The same by the candidate.</param>
public sealed record ImagePair(int Label, float[] Reference, float[] Candidate);

/// <summary>How far a candidate is from its reference.</summary>
/// <param name="EpsMse">Mean squared error of the predicted noise over all timesteps.</param>
/// <param name="FinalLatentSnrDecibels">Of the latents after the last step, each model on its own trajectory; at most 200.</param>
/// <param name="ImagePsnrDecibels">Of the decoded images, clamped to [−1, 1], from their pooled error; null without a decoder; at most 200.</param>
/// <param name="Blocks">Per block.</param>
/// <param name="Timesteps">Per timestep, noisiest first.</param>
/// <param name="Images">The decoded images; empty without a decoder.</param>
public sealed record ComparisonResult(
    double EpsMse,
    double FinalLatentSnrDecibels,
    double? ImagePsnrDecibels,
    IReadOnlyList<BlockError> Blocks,
    IReadOnlyList<TimestepError> Timesteps,
    IReadOnlyList<ImagePair> Images);

/// <summary>Compares two models of one architecture, block by block, step by step, and by what they draw.</summary>
/// <remarks>
/// Block outputs and predicted noise are compared on the reference's trajectory: both models get the same latents at every step, so errors
/// of earlier steps do not count twice. The final latents are those of each model's own trajectory from the same noise.
/// </remarks>
public static class ModelComparison
{
    /// <summary>Tokens in flight: what is held besides the models stays small, the block outputs of the reference above all.</summary>
    private const int TokensPerBatch = 1024;

    /// <summary>Compares two models.</summary>
    /// <param name="reference">The reference.</param>
    /// <param name="candidate">Of the same architecture; may run on another backend.</param>
    /// <param name="settings">Trajectory and samples.</param>
    /// <param name="decoder">Latents to pixels, or null when images are not compared.</param>
    /// <param name="progress">Told how many steps of how many are done.</param>
    /// <exception cref="UsageException">The architectures differ, or the settings make no sense.</exception>
    public static ComparisonResult Run(
        DiTModel reference, DiTModel candidate, ComparisonSettings settings, IImageDecoder? decoder, IProgress<(int Done, int Total)>? progress = null)
    {
        CheckArchitectures(reference.Config, candidate.Config);
        Check(settings);
        var config = reference.Config;
        var plan = SamplingPlan.Ddim(TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), settings.Steps), 0);
        var measures = new ComparisonMeasures(config, plan);
        var rowsPerImage = settings.GuidanceScale == 1 ? 1 : 2;
        var batchSize = Math.Max(1, TokensPerBatch / (rowsPerImage * config.TokenCount));
        var batchCount = (settings.Samples + batchSize - 1) / batchSize;
        for (var b = 0; b < batchCount; b++)
        {
            int[] images = [.. Enumerable.Range(b * batchSize, Math.Min(batchSize, settings.Samples - b * batchSize))];
            int[] labels = [.. images.Select(i => settings.LabelOf(i, config.ClassCount))];
            using var right = new Trajectory(reference, plan, settings, images, labels);
            using var wrong = new Trajectory(candidate, plan, settings, images, labels);
            for (var s = 0; s < plan.Steps.Length; s++)
            {
                measures.CompareStep(s, right, wrong);
                progress?.Report((b * plan.Steps.Length + s + 1, batchCount * plan.Steps.Length));
            }

            measures.CompareImages(labels, right.Latents, wrong.Latents, decoder);
        }

        return measures.Result();
    }

    /// <summary>Refuses models that have nothing to do with each other.</summary>
    /// <exception cref="UsageException">The first fact in which they differ, named.</exception>
    public static void CheckArchitectures(DiTConfig reference, DiTConfig candidate)
    {
        (string Fact, int Reference, int Candidate)[] facts =
        [
            ("depth", reference.Depth, candidate.Depth),
            ("hidden size", reference.HiddenSize, candidate.HiddenSize),
            ("heads", reference.HeadCount, candidate.HeadCount),
            ("MLP size", reference.MlpSize, candidate.MlpSize),
            ("patch size", reference.PatchSize, candidate.PatchSize),
            ("latent side", reference.InputSize, candidate.InputSize),
            ("latent channels", reference.InChannels, candidate.InChannels),
            ("predicted channels", reference.OutChannels, candidate.OutChannels),
            ("classes", reference.ClassCount, candidate.ClassCount),
        ];
        foreach (var (fact, expected, found) in facts)
            if (expected != found) throw new UsageException($"the models differ in architecture: the reference has {fact} {expected}, the candidate {found}");
    }

    private static void Check(ComparisonSettings settings)
    {
        if (settings.Steps is < 1 or > NoiseSchedule.TrainingSteps) throw new UsageException($"--steps {settings.Steps}: expected 1 to {NoiseSchedule.TrainingSteps}");
        if (settings.Samples is < 1 or > 100_000) throw new UsageException($"--samples {settings.Samples}: expected 1 to 100000");
        if (!float.IsFinite(settings.GuidanceScale) || settings.GuidanceScale < 0)
            throw new UsageException($"--cfg-scale {settings.GuidanceScale}: expected a number that is not negative");
    }
}
