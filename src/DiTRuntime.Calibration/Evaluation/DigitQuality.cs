using System.Diagnostics;
using DiTRuntime.Decoding;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>How digits are drawn to be judged.</summary>
/// <param name="Samples">Images; image i shows the digit i mod 10.</param>
/// <param name="Steps">Steps of DDIM, leading spacing.</param>
/// <param name="GuidanceScale">s of classifier-free guidance; 1 turns it off.</param>
/// <param name="Seed">Image i starts from the noise of seed + i.</param>
public sealed record DigitSettings(int Samples = 200, int Steps = 50, float GuidanceScale = 2, ulong Seed = 1);

/// <summary>What a digit model is worth.</summary>
/// <param name="Agreement">Share of the images that the judge reads as the digit asked for.</param>
/// <param name="Frechet">Fréchet distance to real digits on the judge's features.</param>
/// <param name="Seconds">Time of sampling.</param>
/// <param name="Pixels">The images [32·32], clamped to [−1, 1].</param>
public sealed record DigitFigures(double Agreement, double Frechet, double Seconds, IReadOnlyList<float[]> Pixels)
{
    /// <summary>PSNR against another model's images from the same noise, from the pooled error; at most 200 dB.</summary>
    public double PsnrAgainst(DigitFigures reference)
    {
        var errors = new ErrorSums();
        for (var i = 0; i < Pixels.Count; i++) errors.Add(reference.Pixels[i], Pixels[i]);
        return errors.PsnrDecibels(range: 2);
    }
}

/// <summary>Draws digits with a model and has them judged.</summary>
public static class DigitQuality
{
    private const int BatchSize = 20;

    /// <summary>Measures a model.</summary>
    /// <param name="model">A model of ten classes that makes grey images of 32×32 pixels.</param>
    /// <param name="settings">What is drawn.</param>
    /// <param name="judge">The judge.</param>
    /// <param name="progress">Told how many steps of how many are done.</param>
    /// <param name="cancellation">Ends the run between pieces of work.</param>
    /// <exception cref="UsageException">The model draws no digits, or the settings make no sense.</exception>
    public static DigitFigures Measure(
        DiTModel model, DigitSettings settings, DigitJudge judge, IProgress<GenerationProgress>? progress = null, CancellationToken cancellation = default)
    {
        Check(model.Config, settings);
        var plan = SamplingPlan.Ddim(TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), settings.Steps), 0);
        var images = Enumerable.Range(0, settings.Samples).ToArray();
        var labels = images.Select(i => i % model.Config.ClassCount).ToArray();
        var pixels = new List<float[]>(settings.Samples);
        using var decoder = new PixelDecoder(1);
        var start = Stopwatch.GetTimestamp();
        new DiTPipeline(model, decoder).Generate(
            images, labels, new SamplingSettings(plan, new ImageNoise(settings.Seed), settings.GuidanceScale, model.Config.InChannels), BatchSize,
            image => pixels.Add([.. image.Pixels!.Select(value => Math.Clamp(value, -1, 1))]), progress, cancellation);
        var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;

        var features = new float[settings.Samples * judge.FeatureCount];
        var scores = new float[judge.ClassCount];
        var agreed = 0;
        for (var i = 0; i < pixels.Count; i++)
        {
            judge.Judge(pixels[i], features.AsSpan(i * judge.FeatureCount, judge.FeatureCount), scores);
            if (Array.IndexOf(scores, scores.Max()) == labels[i]) agreed++;
        }

        var distance = FrechetDistance.Between(judge.RealDigits, FeatureStatistics.Of(features, judge.FeatureCount));
        return new DigitFigures(agreed / (double)settings.Samples, distance, seconds, pixels);
    }

    private static void Check(DiTConfig config, DigitSettings settings)
    {
        if (config is not { InChannels: 1, InputSize: 32, ClassCount: 10 })
            throw new UsageException($"the digit judge reads ten classes of grey 32x32 images; this model makes {config.InChannels}x{config.InputSize}x{config.InputSize} of {config.ClassCount} classes");
        if (settings.Samples is < 2 or > 100_000) throw new UsageException($"--samples {settings.Samples}: expected 2 to 100000");
        if (settings.Steps is < 1 or > NoiseSchedule.TrainingSteps) throw new UsageException($"--steps {settings.Steps}: expected 1 to {NoiseSchedule.TrainingSteps}");
    }
}
