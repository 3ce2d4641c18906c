namespace DiTRuntime.Calibration.Evaluation;

/// <summary>
/// |μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr √(Σ₁Σ₂): the squared Fréchet distance of two Gaussians (Heusel et al. 2017, equation 6), in double precision.
/// On Inception features it is the FID, on spatial ones the sFID.
/// </summary>
/// <remarks>
/// √(Σ₁Σ₂) has the eigenvalues of √(√Σ₁ Σ₂ √Σ₁), which is symmetric: its eigenvalues are real and, up to rounding, not negative. The ADM
/// evaluator takes the square root of the product itself, tolerates imaginary parts up to 1e-3 and adds 1e-6 to the diagonals where that root is not
/// finite, which happens with singular covariances. The symmetric form is finite for them too, so it needs neither rule.
/// </remarks>
public static class FrechetDistance
{
    /// <summary>The distance of two sets of features.</summary>
    /// <exception cref="UsageException">The statistics are of different features.</exception>
    public static double Between(FeatureStatistics first, FeatureStatistics second)
    {
        var n = first.FeatureCount;
        if (second.FeatureCount != n) throw new UsageException($"statistics of {n} and of {second.FeatureCount} features cannot be compared");
        double distance = 0;
        for (var f = 0; f < n; f++)
        {
            var difference = first.Mean[f] - second.Mean[f];
            distance += difference * difference + first.Covariance[f * n + f] + second.Covariance[f * n + f];
        }

        return distance - 2 * TraceOfRoot(first.Covariance, second.Covariance, n);
    }

    /// <summary>tr √(AB) of two positive semidefinite matrices [n, n].</summary>
    internal static double TraceOfRoot(double[] a, double[] b, int n)
    {
        var root = SymmetricEigen.SquareRoot(a, n);
        // √A B √A; the root is symmetric, so a transposed product is the product.
        var half = DoubleProduct.TransposedTimes(b, root, n, n, n);
        double trace = 0;
        foreach (var value in SymmetricEigen.ValuesOf(DoubleProduct.TransposedTimes(root, half, n, n, n), n)) trace += Math.Sqrt(Math.Max(value, 0));
        return trace;
    }
}
