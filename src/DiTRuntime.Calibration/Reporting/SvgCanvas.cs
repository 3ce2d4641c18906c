using System.Globalization;
using System.Text;

namespace DiTRuntime.Calibration.Reporting;

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
