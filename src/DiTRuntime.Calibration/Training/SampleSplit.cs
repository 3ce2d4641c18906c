using DiTRuntime.Calibration.Quantizing;

namespace DiTRuntime.Calibration.Training;

/// <summary>Which calibration samples are trained on, and which are held out to measure by.</summary>
/// <param name="Trained">Numbers of the former.</param>
/// <param name="HeldOut">Numbers of the latter.</param>
internal sealed record SampleSplit(int[] Trained, int[] HeldOut)
{
    /// <summary>Every so many-th sample is held out: an odd number, because samples with their class and without alternate.</summary>
    private const int Stride = 9;

    /// <summary>Splits the samples.</summary>
    /// <exception cref="UsageException">There is one alone.</exception>
    public static SampleSplit Of(CalibrationSet set)
    {
        if (set.Count < 2) throw new UsageException($"--samples {set.Count}: a training wants at least 2, one of which is held out to measure by");
        var samples = Enumerable.Range(0, set.Count).ToLookup(i => i % Stride == Math.Min(Stride / 2, set.Count - 1));
        return new SampleSplit([.. samples[false]], [.. samples[true]]);
    }
}
