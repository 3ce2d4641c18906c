using System.Globalization;

namespace DiTRuntime.Calibration.Reporting;

/// <summary>Maps values to places along an axis, and chooses the values that get a label.</summary>
internal sealed class AxisScale
{
    private readonly bool _isLogarithmic;
    private readonly double _low;
    private readonly double _high;
    private readonly double _start;
    private readonly double _end;

    /// <param name="axis">The axis.</param>
    /// <param name="values">What is to be seen; what is not finite (or not positive, on a logarithmic axis) is passed over.</param>
    /// <param name="start">Place of the low end.</param>
    /// <param name="end">Place of the high end.</param>
    /// <param name="fromZero">Whether the axis begins at 0 (or lower).</param>
    public AxisScale(ChartAxis axis, IEnumerable<double> values, double start, double end, bool fromZero = false)
    {
        (_isLogarithmic, _start, _end) = (axis.IsLogarithmic, start, end);
        var seen = values.Where(Shows).Select(Warp).ToArray();
        (_low, _high) = seen.Length == 0 ? (0, 1) : (seen.Min(), seen.Max());
        if (fromZero && !_isLogarithmic) (_low, _high) = (Math.Min(0, _low), Math.Max(0, _high));
        if (_high - _low < 1e-12 * Math.Max(1, Math.Abs(_high))) (_low, _high) = (_low - 0.5, _high + 0.5);
        if (_isLogarithmic)
        {
            (_low, _high) = (Math.Floor(2 * _low) / 2, Math.Ceiling(2 * _high) / 2);
            Ticks = LogarithmicTicks();
            return;
        }

        var step = NiceStep((_high - _low) / 5);
        (_low, _high) = (Math.Floor(_low / step + 1e-9) * step, Math.Ceiling(_high / step - 1e-9) * step);
        Ticks = [.. Enumerable.Range(0, (int)Math.Round((_high - _low) / step) + 1).Select(i => Math.Round(_low / step + i) * step)];
    }

    /// <summary>Values that get a label, ascending.</summary>
    public IReadOnlyList<double> Ticks { get; }

    /// <summary>Whether a value can be shown.</summary>
    public bool Shows(double value) => double.IsFinite(value) && (!_isLogarithmic || value > 0);

    /// <summary>The place of a value.</summary>
    public double Place(double value) => _start + (Warp(value) - _low) / (_high - _low) * (_end - _start);

    /// <summary>A value as people write it.</summary>
    public static string Label(double value)
    {
        var magnitude = Math.Abs(value);
        if (magnitude != 0 && (magnitude < 9.99e-3 || magnitude >= 1e6))
        {
            var exponent = (int)Math.Floor(Math.Log10(magnitude) + 1e-9);
            var mantissa = Math.Round(value / Math.Pow(10, exponent), 2);
            return $"{(mantissa == 1 ? "" : mantissa.ToString("0.##", CultureInfo.InvariantCulture) + "·")}10{Superscript(exponent)}";
        }

        return value.ToString(magnitude >= 1000 ? "#,0.##" : "0.####", CultureInfo.InvariantCulture);
    }

    private static string Superscript(int exponent) =>
        string.Concat(exponent.ToString(CultureInfo.InvariantCulture).Select(c => c == '-' ? '⁻' : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c - '0']));

    private double Warp(double value) => _isLogarithmic ? Math.Log10(value) : value;

    private List<double> LogarithmicTicks()
    {
        double[] marks = _high - _low <= 2 ? [1, 2, 5] : [1];
        var every = Math.Max(1, (int)Math.Ceiling((_high - _low) / 6));
        var ticks = new List<double>();
        for (var exponent = (int)Math.Floor(_low); exponent <= _high; exponent++)
        {
            if (exponent % every != 0) continue;
            foreach (var mark in marks)
            {
                var value = mark * Math.Pow(10, exponent);
                if (Math.Log10(value) >= _low - 1e-9 && Math.Log10(value) <= _high + 1e-9) ticks.Add(value);
            }
        }

        return ticks;
    }

    /// <summary>1, 2 or 5 times a power of ten, at least a given step.</summary>
    private static double NiceStep(double step)
    {
        var power = Math.Pow(10, Math.Floor(Math.Log10(step)));
        var mantissa = step / power;
        return power * (mantissa <= 1 ? 1 : mantissa <= 2 ? 2 : mantissa <= 5 ? 5 : 10);
    }
}
