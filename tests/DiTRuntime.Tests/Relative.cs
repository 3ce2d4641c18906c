namespace DiTRuntime.Tests;

/// <summary>How far values are from the ones expected.</summary>
internal static class Relative
{
    /// <summary>‖actual − expected‖₂ / ‖expected‖₂; infinite when a value is not finite.</summary>
    public static double Error(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        Assert.That(actual.Length, Is.EqualTo(expected.Length));
        double error = 0, norm = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            if (!float.IsFinite(actual[i])) return double.PositiveInfinity;
            error += Math.Pow((double)actual[i] - expected[i], 2);
            norm += Math.Pow(expected[i], 2);
        }

        return Math.Sqrt(error / Math.Max(norm, 1e-30));
    }
}
