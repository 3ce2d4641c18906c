namespace DiTRuntime.Calibration.Reporting;

/// <summary>Marks with names beside them.</summary>
internal static class SvgScatter
{
    private const double CharacterWidth = 6.7, LineHeight = 14, Gap = 9;

    public static string Draw(ScatterSection section)
    {
        var canvas = new SvgCanvas(section.Title);
        var x = new AxisScale(section.X, section.Points.Select(p => p.X), SvgCanvas.Left + 20, SvgCanvas.Right - 20);
        var y = new AxisScale(section.Y, section.Points.Select(p => p.Y), SvgCanvas.Bottom, SvgCanvas.Top);
        canvas.VerticalAxis(y, section.Y.Title);
        canvas.HorizontalAxis(x, section.X.Title);
        var shown = section.Points.Where(p => x.Shows(p.X) && y.Shows(p.Y)).Select((p, i) => (Point: p, Index: i, X: x.Place(p.X), Y: y.Place(p.Y))).ToArray();
        foreach (var (point, index, px, py) in shown)
            canvas.Disc(px, py, 6, SvgCanvas.Colour(index), $"{point.Name}: {AxisScale.Label(point.X)}, {AxisScale.Label(point.Y)}");
        var taken = shown.Select(p => (Left: p.X - 7, Top: p.Y - 7, Right: p.X + 7, Bottom: p.Y + 7)).ToList();
        foreach (var (point, _, px, py) in shown)
        {
            var (left, baseline) = PlaceLabel(px, py, point.Name.Length * CharacterWidth, taken);
            canvas.Text(left, baseline, point.Name, "halo", "start");
        }

        return canvas.Finish();
    }

    /// <summary>The first place around a mark where its name covers nothing, right first; right when every place is taken.</summary>
    private static (double Left, double Baseline) PlaceLabel(double x, double y, double width, List<(double Left, double Top, double Right, double Bottom)> taken)
    {
        (double Left, double Middle)[] places = [
            (x + Gap, y), (x - Gap - width, y), (x - width / 2, y - 16), (x - width / 2, y + 16),
            (x + Gap, y - 14), (x + Gap, y + 14), (x - Gap - width, y - 14), (x - Gap - width, y + 14), (x + Gap, y - 28), (x + Gap, y + 28)];
        foreach (var (left, middle) in places)
        {
            var box = (Left: left, Top: middle - LineHeight / 2, Right: left + width, Bottom: middle + LineHeight / 2);
            if (box.Left < SvgCanvas.Left || box.Right > SvgCanvas.Right || box.Top < 0 || box.Bottom > SvgCanvas.Bottom) continue;
            if (taken.Exists(t => box.Left < t.Right && t.Left < box.Right && box.Top < t.Bottom && t.Top < box.Bottom && !Covers(t, x, y))) continue;
            taken.Add(box);
            return (left, middle + 4);
        }

        return (places[0].Left, y + 4);
    }

    private static bool Covers((double Left, double Top, double Right, double Bottom) box, double x, double y) =>
        box.Left < x && x < box.Right && box.Top < y && y < box.Bottom;
}

/// <summary>Lines, the mark of each value told when pointed at.</summary>
internal static class SvgLines
{
    public static string Draw(LineSection section)
    {
        var canvas = new SvgCanvas(section.Title);
        var all = section.Series.SelectMany(s => s.Values).ToArray();
        var x = new AxisScale(section.X, all.Select(v => v.X), SvgCanvas.Left + 8, SvgCanvas.Right - 8);
        var y = new AxisScale(section.Y, all.Select(v => v.Y), SvgCanvas.Bottom, SvgCanvas.Top);
        canvas.VerticalAxis(y, section.Y.Title);
        canvas.HorizontalAxis(x, section.X.Title);
        for (var i = 0; i < section.Series.Count; i++)
        {
            var shown = section.Series[i].Values.Where(v => x.Shows(v.X) && y.Shows(v.Y)).ToArray();
            canvas.Path(shown.Select(v => (x.Place(v.X), y.Place(v.Y))), SvgCanvas.Colour(i));
            foreach (var (vx, vy) in shown) canvas.Disc(x.Place(vx), y.Place(vy), 2.5, SvgCanvas.Colour(i), $"{section.Series[i].Name} at {AxisScale.Label(vx)}: {AxisScale.Label(vy)}");
        }

        return SvgCanvas.Legend(section.Series) + canvas.Finish();
    }
}

/// <summary>Bars in groups.</summary>
internal static class SvgBars
{
    /// <summary>Names under the groups closer than this would run into each other.</summary>
    private const double LabelWidth = 52;

    public static string Draw(BarSection section)
    {
        var canvas = new SvgCanvas(section.Title);
        var y = new AxisScale(section.Y, section.Series.SelectMany(s => s.Values).Select(v => v.Y), SvgCanvas.Bottom, SvgCanvas.Top, fromZero: true);
        canvas.VerticalAxis(y, section.Y.Title);
        var groupWidth = (SvgCanvas.Right - SvgCanvas.Left) / Math.Max(1, section.Groups.Count);
        var barWidth = Math.Min(28, 0.8 * groupWidth / Math.Max(1, section.Series.Count));
        var every = Math.Max(1, (int)Math.Ceiling(LabelWidth / groupWidth));
        // A logarithmic axis has no 0: bars stand on the lowest line.
        var floor = section.Y.IsLogarithmic ? SvgCanvas.Bottom : y.Place(0);
        for (var g = 0; g < section.Groups.Count; g++)
        {
            var middle = SvgCanvas.Left + (g + 0.5) * groupWidth;
            for (var s = 0; s < section.Series.Count; s++)
            {
                var value = section.Series[s].Values[g].Y;
                if (!y.Shows(value)) continue;
                var place = y.Place(value);
                var left = middle + (s - section.Series.Count / 2.0) * barWidth;
                canvas.Bar(left, Math.Min(place, floor), Math.Max(1, barWidth - 1.5), Math.Abs(floor - place), SvgCanvas.Colour(s), $"{section.Groups[g]}, {section.Series[s].Name}: {AxisScale.Label(value)}");
            }

            if (g % every == 0) canvas.Text(middle, SvgCanvas.Bottom + 20, section.Groups[g], "tick", "middle");
        }

        canvas.Baseline(floor);
        canvas.HorizontalTitle(section.X);
        return SvgCanvas.Legend(section.Series) + canvas.Finish();
    }
}
