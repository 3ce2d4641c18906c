namespace DiTRuntime.Bench.Serve;

/// <summary>Order statistics.</summary>
internal static class Statistics
{
    /// <summary>The value that a part of all values does not exceed: 0.5 is the median, 0.99 the p99 (nearest rank).</summary>
    public static double Quantile(this IEnumerable<double> values, double part)
    {
        var sorted = values.Order().ToArray();
        return sorted[Math.Clamp((int)Math.Ceiling(part * sorted.Length) - 1, 0, sorted.Length - 1)];
    }

    /// <summary>The median.</summary>
    public static double Median(this IEnumerable<double> values) => values.Quantile(0.5);
}
