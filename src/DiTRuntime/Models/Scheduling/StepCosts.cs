namespace DiTRuntime.Models.Scheduling;

/// <summary>What steps of so many samples take, learned from those that were taken.</summary>
internal sealed class StepCosts
{
    /// <summary>Weight of the newest measurement: some ten steps forget an old one.</summary>
    private const double Newest = 0.2;

    private const double Tolerance = 1.05;

    /// <summary>Measured seconds by number of samples; 0 where nothing is known.</summary>
    private readonly double[] _measured;

    /// <summary>Expected seconds by number of samples.</summary>
    private readonly double[] _expected;

    /// <param name="maxSamples">Samples of the largest step.</param>
    public StepCosts(int maxSamples)
    {
        _measured = new double[maxSamples + 1];
        _expected = new double[maxSamples + 1];
        Expect();
    }

    /// <summary>Samples advanced per second of late; 0 before the first step.</summary>
    public double SamplesPerSecond { get; private set; }

    /// <summary>Learns from a step.</summary>
    public void Add(int samples, double seconds)
    {
        if (seconds <= 0) return;
        _measured[samples] = Blend(_measured[samples], seconds);
        SamplesPerSecond = Blend(SamplesPerSecond, samples / seconds);
        Expect();
    }

    /// <summary>Expected seconds of a step: between two that are known on the line through them, else in proportion to the samples.</summary>
    public double Estimate(int samples) => _expected[samples];

    /// <summary>Samples of the smallest step, two or more, in which a sample costs nearly as little as in any: larger ones only make others wait for their end.</summary>
    public int Worthwhile()
    {
        var least = double.PositiveInfinity;
        for (var samples = 2; samples < _expected.Length; samples++) least = Math.Min(least, Estimate(samples) / samples);
        var count = 2;
        while (count < _expected.Length - 1 && Estimate(count) / count > Tolerance * least) count++;
        return count;
    }

    private void Expect()
    {
        var below = 0;
        for (var known = 1; known < _measured.Length; known++)
        {
            if (_measured[known] == 0) continue;
            // Through the origin where none is known below.
            for (var samples = below + 1; samples < known; samples++) _expected[samples] = _measured[below] + (_measured[known] - _measured[below]) * (samples - below) / (known - below);
            _expected[known] = _measured[known];
            below = known;
        }

        for (var samples = below + 1; samples < _expected.Length; samples++) _expected[samples] = below == 0 ? samples : _measured[below] * samples / below;
    }

    private static double Blend(double old, double value) => old == 0 ? value : old + Newest * (value - old);
}
