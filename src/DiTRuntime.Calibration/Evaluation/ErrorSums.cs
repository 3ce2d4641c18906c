namespace DiTRuntime.Calibration.Evaluation;

/// <summary>Sums over pairs of a reference and a candidate value, in double precision, from which every error measure follows.</summary>
internal sealed class ErrorSums
{
    /// <summary>
    /// Ratios are told up to this: fp32 cannot show a difference of 200 dB, so it means that none was found.
    /// </summary>
    public const double MaxDecibels = 200;

    private double _reference;
    private double _candidate;
    private double _product;
    private double _error;
    private long _count;

    /// <summary>Mean of (reference − candidate)².</summary>
    public double MeanSquare => _count == 0 ? 0 : _error / _count;

    /// <summary>10 log₁₀ of signal over error, at most <see cref="MaxDecibels"/>.</summary>
    public double SnrDecibels => Decibels(_reference, _error);

    /// <summary>Cosine of the angle between all reference and all candidate values.</summary>
    public double Cosine => _error == 0 ? 1 : _reference == 0 || _candidate == 0 ? 0 : _product / Math.Sqrt(_reference * _candidate);

    /// <summary>10 log₁₀ of the squared range over the mean squared error, at most <see cref="MaxDecibels"/>.</summary>
    public double PsnrDecibels(double range) => Decibels(range * range, MeanSquare);

    /// <summary>Adds pairs of values.</summary>
    public void Add(ReadOnlySpan<float> reference, ReadOnlySpan<float> candidate)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(candidate.Length, reference.Length);
        double signal = 0, other = 0, product = 0, error = 0;
        for (var i = 0; i < reference.Length; i++)
        {
            double r = reference[i], c = candidate[i];
            signal += r * r;
            other += c * c;
            product += r * c;
            error += (r - c) * (r - c);
        }

        _reference += signal;
        _candidate += other;
        _product += product;
        _error += error;
        _count += reference.Length;
    }

    private static double Decibels(double signal, double error)
    {
        // A candidate that is not finite is as wrong as can be, not as right.
        if (!double.IsFinite(error)) return double.IsFinite(signal) ? -MaxDecibels : 0;
        if (error == 0) return MaxDecibels;
        return signal == 0 ? -MaxDecibels : Math.Clamp(10 * Math.Log10(signal / error), -MaxDecibels, MaxDecibels);
    }
}
