using System.Globalization;
using System.Text;

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

/// <summary>An SVG drawing with two axes.</summary>
internal sealed class SvgCanvas
{
    /// <summary>Extent of the drawing in its own units.</summary>
    public const double Width = 950, Height = 400;

    /// <summary>The part that holds values.</summary>
    public const double Left = 84, Right = Width - 24, Top = 14, Bottom = Height - 56;

    private readonly StringBuilder _svg = new();

    /// <param name="description">What the drawing shows, for those who cannot see it.</param>
    public SvgCanvas(string description) =>
        _svg.Append($"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"{HtmlReport.Escape(description)}\">\n");

    /// <summary>The colour of a series.</summary>
    public static string Colour(int series) => $"var(--s{series % ReportStyle.ColourCount})";

    /// <summary>A legend, where there is more than one series.</summary>
    public static string Legend(IReadOnlyList<ChartSeries> series)
    {
        if (series.Count < 2) return "";
        var items = series.Select((s, i) => $"<li><span style=\"background:{Colour(i)}\"></span>{HtmlReport.Escape(s.Name)}</li>");
        return $"<ul class=\"legend\">{string.Concat(items)}</ul>\n";
    }

    /// <summary>Draws the vertical axis with its grid.</summary>
    public void VerticalAxis(AxisScale scale, string title)
    {
        foreach (var tick in scale.Ticks)
        {
            Line(Left, scale.Place(tick), Right, scale.Place(tick), "class=\"grid\"");
            Text(Left - 10, scale.Place(tick) + 4, AxisScale.Label(tick), "tick", "end");
        }

        var middle = (Top + Bottom) / 2;
        _svg.Append($"<text class=\"axis\" text-anchor=\"middle\" transform=\"translate(18 {N(middle)}) rotate(-90)\">{HtmlReport.Escape(title)}</text>\n");
    }

    /// <summary>Draws the horizontal axis.</summary>
    public void HorizontalAxis(AxisScale scale, string title)
    {
        foreach (var tick in scale.Ticks)
        {
            Line(scale.Place(tick), Bottom, scale.Place(tick), Bottom + 5, "class=\"base\"");
            Text(scale.Place(tick), Bottom + 20, AxisScale.Label(tick), "tick", "middle");
        }

        Baseline(Bottom);
        HorizontalTitle(title);
    }

    /// <summary>The title under the horizontal axis.</summary>
    public void HorizontalTitle(string title) => Text((Left + Right) / 2, Height - 10, title, "axis", "middle");

    /// <summary>A line over the whole width.</summary>
    public void Baseline(double y) => Line(Left, y, Right, y, "class=\"base\"");

    /// <summary>A straight line.</summary>
    public void Line(double x1, double y1, double x2, double y2, string attributes) =>
        _svg.Append($"<line x1=\"{N(x1)}\" y1=\"{N(y1)}\" x2=\"{N(x2)}\" y2=\"{N(y2)}\" {attributes}/>\n");

    /// <summary>A line through points.</summary>
    public void Path(IEnumerable<(double X, double Y)> points, string colour) =>
        _svg.Append($"<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\" points=\"{string.Join(' ', points.Select(p => $"{N(p.X)},{N(p.Y)}"))}\"/>\n");

    /// <summary>A disc that tells its name and value when pointed at.</summary>
    public void Disc(double x, double y, double radius, string colour, string tip) =>
        _svg.Append($"<circle cx=\"{N(x)}\" cy=\"{N(y)}\" r=\"{N(radius)}\" fill=\"{colour}\"><title>{HtmlReport.Escape(tip)}</title></circle>\n");

    /// <summary>A bar that tells its name and value when pointed at.</summary>
    public void Bar(double x, double y, double width, double height, string colour, string tip) =>
        _svg.Append($"<rect x=\"{N(x)}\" y=\"{N(y)}\" width=\"{N(width)}\" height=\"{N(Math.Max(height, 0.5))}\" rx=\"1.5\" fill=\"{colour}\"><title>{HtmlReport.Escape(tip)}</title></rect>\n");

    /// <summary>A word.</summary>
    public void Text(double x, double y, string text, string cssClass, string anchor) =>
        _svg.Append($"<text class=\"{cssClass}\" x=\"{N(x)}\" y=\"{N(y)}\" text-anchor=\"{anchor}\">{HtmlReport.Escape(text)}</text>\n");

    /// <summary>The drawing.</summary>
    public string Finish() => _svg.Append("</svg>\n").ToString();

    private static string N(double value) => value.ToString("0.##", CultureInfo.InvariantCulture);
}
