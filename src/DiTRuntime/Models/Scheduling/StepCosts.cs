namespace DiTRuntime.Models.Scheduling;

/// <summary>What steps of so many samples take, learned from those that were taken.</summary>
/// <param name="maxSamples">Samples of the largest step.</param>
internal sealed class StepCosts(int maxSamples)
{
    /// <summary>Weight of the newest measurement: some ten steps forget an old one.</summary>
    private const double Newest = 0.2;

    private const double Tolerance = 1.05;

    /// <summary>Seconds by number of samples; 0 where nothing is known.</summary>
    private readonly double[] _seconds = new double[maxSamples + 1];

    /// <summary>Samples advanced per second of late; 0 before the first step.</summary>
    public double SamplesPerSecond { get; private set; }

    /// <summary>Learns from a step.</summary>
    public void Add(int samples, double seconds)
    {
        if (seconds <= 0) return;
        _seconds[samples] = Blend(_seconds[samples], seconds);
        SamplesPerSecond = Blend(SamplesPerSecond, samples / seconds);
    }

    /// <summary>Expected seconds of a step; in proportion to the samples where nothing is known.</summary>
    public double Estimate(int samples)
    {
        if (_seconds[samples] > 0) return _seconds[samples];
        int below = samples, above = samples;
        while (below > 0 && _seconds[below] == 0) below--;
        while (above <= maxSamples && _seconds[above] == 0) above++;
        if (above > maxSamples) return below == 0 ? samples : _seconds[below] * samples / below;
        // Fewer samples never cost more.
        if (below == 0) return _seconds[above] * samples / above;
        return _seconds[below] + (_seconds[above] - _seconds[below]) * (samples - below) / (above - below);
    }

    /// <summary>Samples of the smallest step, two or more, in which a sample costs nearly as little as in any: larger ones only make others wait for their end.</summary>
    public int Worthwhile()
    {
        var least = double.PositiveInfinity;
        for (var samples = 2; samples <= maxSamples; samples++) least = Math.Min(least, Estimate(samples) / samples);
        var count = 2;
        while (count < maxSamples && Estimate(count) / count > Tolerance * least) count++;
        return count;
    }

    private static double Blend(double old, double value) => old == 0 ? value : old + Newest * (value - old);
}
