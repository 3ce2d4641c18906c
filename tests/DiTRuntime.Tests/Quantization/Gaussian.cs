namespace DiTRuntime.Tests.Quantization;

/// <summary>Normal values of a seed.</summary>
internal static class Gaussian
{
    /// <summary>Independent values of mean 0 and variance 1 (Box and Muller 1958).</summary>
    public static float[] Values(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))];
    }

    /// <summary>The density at x.</summary>
    public static double Density(double x) => Math.Exp(-x * x / 2) / Math.Sqrt(2 * Math.PI);
}
