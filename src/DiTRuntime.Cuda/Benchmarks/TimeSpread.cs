namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>Repeated times: the median, and the 10th and 90th percentile as their spread.</summary>
/// <param name="Median">Half of the times are shorter.</param>
/// <param name="Low">10th percentile.</param>
/// <param name="High">90th percentile.</param>
/// <param name="Count">Times measured.</param>
public readonly record struct TimeSpread(double Median, double Low, double High, int Count)
{
    /// <summary>Of times in any order.</summary>
    /// <exception cref="ArgumentException">There are none.</exception>
    public static TimeSpread Of(IEnumerable<double> times)
    {
        double[] sorted = [.. times.Order()];
        if (sorted.Length == 0) throw new ArgumentException("no times", nameof(times));
        return new TimeSpread(Percentile(sorted, 0.5), Percentile(sorted, 0.1), Percentile(sorted, 0.9), sorted.Length);
    }

    /// <summary>Every time divided.</summary>
    public static TimeSpread operator /(TimeSpread times, double divisor) => new(times.Median / divisor, times.Low / divisor, times.High / divisor, times.Count);

    /// <summary>Interpolated between the two nearest.</summary>
    private static double Percentile(double[] sorted, double fraction)
    {
        var place = fraction * (sorted.Length - 1);
        var below = (int)place;
        var above = Math.Min(below + 1, sorted.Length - 1);
        return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
    }
}
