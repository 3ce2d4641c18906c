namespace DiTRuntime.Calibration.Reporting;

/// <summary>A quantity along an axis.</summary>
/// <param name="Title">Name and unit, as they stand at the axis.</param>
/// <param name="IsLogarithmic">Whether equal ratios take equal lengths; values must then be positive.</param>
public sealed record ChartAxis(string Title, bool IsLogarithmic = false);

/// <summary>One thing measured in two ways.</summary>
/// <param name="Name">What stands beside its mark.</param>
/// <param name="X">Horizontal value.</param>
/// <param name="Y">Vertical value.</param>
public sealed record ChartPoint(string Name, double X, double Y);

/// <summary>One line of a chart, or one colour of its bars.</summary>
/// <param name="Name">Its name in the legend.</param>
/// <param name="Values">Points of a line, by ascending or descending x; or one value per bar, x ignored.</param>
public sealed record ChartSeries(string Name, IReadOnlyList<(double X, double Y)> Values);

/// <summary>What a report shows; each draws itself as HTML.</summary>
public abstract record ReportSection(string Title)
{
    /// <summary>One or two sentences under the title that say how to read it.</summary>
    public string Explanation { get; init; } = "";
}

/// <summary>Marks with names: size against quality.</summary>
/// <param name="Title">Heading.</param>
/// <param name="X">Horizontal axis.</param>
/// <param name="Y">Vertical axis.</param>
/// <param name="Points">What is shown; values that are not finite are left out.</param>
public sealed record ScatterSection(string Title, ChartAxis X, ChartAxis Y, IReadOnlyList<ChartPoint> Points) : ReportSection(Title);

/// <summary>Lines: an error over timesteps.</summary>
/// <param name="Title">Heading.</param>
/// <param name="X">Horizontal axis.</param>
/// <param name="Y">Vertical axis.</param>
/// <param name="Series">The lines.</param>
public sealed record LineSection(string Title, ChartAxis X, ChartAxis Y, IReadOnlyList<ChartSeries> Series) : ReportSection(Title);

/// <summary>Bars in groups: an error per layer or block.</summary>
/// <param name="Title">Heading.</param>
/// <param name="X">What the groups are, as it stands under them.</param>
/// <param name="Y">Vertical axis, from 0.</param>
/// <param name="Groups">Name of each group of bars.</param>
/// <param name="Series">One value per group each.</param>
public sealed record BarSection(string Title, string X, ChartAxis Y, IReadOnlyList<string> Groups, IReadOnlyList<ChartSeries> Series) : ReportSection(Title);

/// <summary>A table; the first column is text, the others are set as numbers.</summary>
/// <param name="Title">Heading.</param>
/// <param name="Columns">Names of the columns.</param>
/// <param name="Rows">Cells, as they shall read.</param>
public sealed record TableSection(string Title, IReadOnlyList<string> Columns, IReadOnlyList<IReadOnlyList<string>> Rows) : ReportSection(Title);

/// <summary>Pictures side by side.</summary>
/// <param name="Title">Heading.</param>
/// <param name="Sheets">Caption and picture of each.</param>
public sealed record ImageSection(string Title, IReadOnlyList<(string Caption, Imaging.Image Sheet)> Sheets) : ReportSection(Title);
