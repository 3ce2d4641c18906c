namespace DiTRuntime.Calibration.Evaluation;

/// <summary>Mean and covariance of a set of feature vectors: what a Fréchet distance compares.</summary>
public sealed class FeatureStatistics
{
    /// <summary>Vectors that are converted to double and summed together.</summary>
    private const int RowsTogether = 1024;

    /// <param name="mean">μ [F].</param>
    /// <param name="covariance">Σ [F, F], symmetric.</param>
    /// <exception cref="ArgumentException">The extents differ, or a value is not finite.</exception>
    public FeatureStatistics(double[] mean, double[] covariance)
    {
        if (mean.Length == 0 || covariance.LongLength != (long)mean.Length * mean.Length)
            throw new ArgumentException($"{covariance.LongLength} covariances for {mean.Length} means", nameof(covariance));
        if (!Array.TrueForAll(mean, double.IsFinite) || !Array.TrueForAll(covariance, double.IsFinite))
            throw new ArgumentException("a mean or covariance is not finite", nameof(mean));
        Mean = mean;
        Covariance = covariance;
    }

    /// <summary>F.</summary>
    public int FeatureCount => Mean.Length;

    /// <summary>μ [F].</summary>
    public double[] Mean { get; }

    /// <summary>Σ [F, F].</summary>
    public double[] Covariance { get; }

    /// <summary>Mean, and covariance with N − 1 in the denominator, both in double precision and in the order of the vectors.</summary>
    /// <param name="features">[N, F].</param>
    /// <param name="featureCount">F.</param>
    /// <exception cref="UsageException">Fewer than two vectors.</exception>
    public static FeatureStatistics Of(ReadOnlySpan<float> features, int featureCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(featureCount);
        if (features.Length % featureCount != 0) throw new ArgumentException($"{features.Length} values do not divide into vectors of {featureCount}", nameof(features));
        var count = features.Length / featureCount;
        if (count < 2) throw new UsageException($"a covariance needs two images at least; there {(count == 1 ? "is 1" : "are none")}");
        var mean = new double[featureCount];
        for (var i = 0; i < features.Length; i++) mean[i % featureCount] += features[i];
        for (var f = 0; f < featureCount; f++) mean[f] /= count;

        var covariance = new double[featureCount * featureCount];
        var centred = new double[Math.Min(RowsTogether, count) * featureCount];
        for (var first = 0; first < count; first += RowsTogether)
        {
            var rows = Math.Min(RowsTogether, count - first);
            for (var i = 0; i < rows * featureCount; i++) centred[i] = features[first * featureCount + i] - mean[i % featureCount];
            DoubleProduct.AddGram(centred, rows, featureCount, covariance);
        }

        for (var i = 0; i < covariance.Length; i++) covariance[i] /= count - 1;
        DoubleProduct.Mirror(covariance, featureCount);
        return new FeatureStatistics(mean, covariance);
    }
}
