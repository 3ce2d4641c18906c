using DiTRuntime.Backends;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>What a set of images is measured by; whatever is known about it.</summary>
public sealed class ImageSetFeatures
{
    /// <summary>Statistics of the features.</summary>
    public FeatureStatistics? Statistics { get; init; }

    /// <summary>Statistics of the spatial features.</summary>
    public FeatureStatistics? SpatialStatistics { get; init; }

    /// <summary>Features [N, F] of the images themselves.</summary>
    public float[]? Features { get; init; }

    /// <summary>F of <see cref="Features"/>.</summary>
    public int FeatureCount { get; init; }

    /// <summary>Class scores [N, C] of the images.</summary>
    public float[]? Logits { get; init; }

    /// <summary>C of <see cref="Logits"/>.</summary>
    public int ClassCount { get; init; }
}

/// <summary>The figures of the ADM evaluator; null where the inputs do not give them.</summary>
/// <param name="Frechet">Fréchet distance of the features (FID on Inception features).</param>
/// <param name="SpatialFrechet">Fréchet distance of the spatial features (sFID).</param>
/// <param name="InceptionScore">Inception score of the samples.</param>
/// <param name="Precision">Precision of the samples.</param>
/// <param name="Recall">Recall of the samples.</param>
public sealed record QualityFigures(double? Frechet, double? SpatialFrechet, double? InceptionScore, double? Precision, double? Recall);

/// <summary>Compares a set of samples with a reference set.</summary>
public static class QualityEvaluation
{
    /// <summary>Every figure that the inputs give.</summary>
    /// <param name="reference">The reference set.</param>
    /// <param name="samples">The samples.</param>
    /// <param name="backend">Multiplies features.</param>
    /// <exception cref="UsageException">The sets are described by different features.</exception>
    public static QualityFigures Compare(ImageSetFeatures reference, ImageSetFeatures samples, IDiTBackend backend)
    {
        double? Distance(FeatureStatistics? a, FeatureStatistics? b) => a is null || b is null ? null : FrechetDistance.Between(a, b);
        PrecisionRecall? manifolds = reference.Features is null || samples.Features is null || reference.FeatureCount != samples.FeatureCount
            ? null
            : PrecisionRecall.Of(reference.Features, samples.Features, samples.FeatureCount, backend);
        return new QualityFigures(
            Distance(reference.Statistics, samples.Statistics),
            Distance(reference.SpatialStatistics, samples.SpatialStatistics),
            samples.Logits is null ? null : InceptionScore.Of(samples.Logits, samples.ClassCount),
            manifolds?.Precision,
            manifolds?.Recall);
    }
}
