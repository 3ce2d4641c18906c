using System.Net;
using System.Text;
using DiTRuntime.Imaging;

namespace DiTRuntime.Calibration.Reporting;

/// <summary>One HTML page that holds everything it shows: no links, no scripts, light and dark.</summary>
/// <param name="title">Heading of the page.</param>
/// <param name="subtitle">What was measured, on one line.</param>
public sealed class HtmlReport(string title, string subtitle)
{
    /// <summary>Name of the page in its folder.</summary>
    public const string FileName = "report.html";

    private readonly List<(string Name, string Value)> _facts = [];
    private readonly List<ReportSection> _sections = [];

    /// <summary>Adds a fact that stands under the heading: a setting, a seed, a machine.</summary>
    public HtmlReport Fact(string name, string value)
    {
        _facts.Add((name, value));
        return this;
    }

    /// <summary>Adds a section at the end.</summary>
    public HtmlReport Add(ReportSection section)
    {
        _sections.Add(section);
        return this;
    }

    /// <summary>Tries that the page can be written, before the long work.</summary>
    /// <exception cref="OutputException">The folder cannot be made or takes no files.</exception>
    public static void Prepare(string folder) => OutputProbe.Check(Path.Combine(folder, FileName), createFolder: true);

    /// <summary>Writes the page, whole or not at all.</summary>
    /// <param name="folder">Where; made when it is missing.</param>
    /// <returns>The page's path.</returns>
    /// <exception cref="OutputException">It cannot be written.</exception>
    public string Save(string folder)
    {
        Prepare(folder);
        var path = Path.Combine(folder, FileName);
        AtomicFile.Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(ToHtml())));
        return path;
    }

    /// <summary>The page.</summary>
    public string ToHtml()
    {
        var html = new StringBuilder();
        html.Append("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        html.Append($"<title>{Escape(title)}</title>\n<style>\n{ReportStyle.Css}</style>\n</head>\n<body>\n<main>\n");
        html.Append($"<header>\n<h1>{Escape(title)}</h1>\n<p class=\"lead\">{Escape(subtitle)}</p>\n");
        if (_facts.Count > 0)
        {
            html.Append("<dl>\n");
            foreach (var (name, value) in _facts) html.Append($"<div><dt>{Escape(name)}</dt><dd>{Escape(value)}</dd></div>\n");
            html.Append("</dl>\n");
        }

        html.Append("</header>\n");
        foreach (var section in _sections) Write(html, section);
        return html.Append("</main>\n</body>\n</html>\n").ToString();
    }

    /// <summary>Text as it may stand in HTML and in attributes.</summary>
    internal static string Escape(string text) => WebUtility.HtmlEncode(string.Concat(text.Where(c => !char.IsControl(c))));

    private static void Write(StringBuilder html, ReportSection section)
    {
        html.Append($"<section>\n<h2>{Escape(section.Title)}</h2>\n");
        if (section.Explanation.Length > 0) html.Append($"<p>{Escape(section.Explanation)}</p>\n");
        switch (section)
        {
            case ScatterSection scatter:
                html.Append(SvgScatter.Draw(scatter));
                break;
            case LineSection lines:
                html.Append(SvgLines.Draw(lines));
                break;
            case BarSection bars:
                html.Append(SvgBars.Draw(bars));
                break;
            case TableSection table:
                WriteTable(html, table);
                break;
            case ImageSection images:
                WriteSheets(html, images);
                break;
            default:
                throw new ArgumentException($"{section.GetType().Name} is no section of a report", nameof(section));
        }

        html.Append("</section>\n");
    }

    private static void WriteTable(StringBuilder html, TableSection table)
    {
        html.Append("<div class=\"scroll\"><table>\n<thead><tr>");
        foreach (var column in table.Columns) html.Append($"<th scope=\"col\">{Escape(column)}</th>");
        html.Append("</tr></thead>\n<tbody>\n");
        foreach (var row in table.Rows)
        {
            html.Append("<tr>");
            for (var i = 0; i < row.Count; i++) html.Append(i == 0 ? $"<th scope=\"row\">{Escape(row[i])}</th>" : $"<td>{Escape(row[i])}</td>");
            html.Append("</tr>\n");
        }

        html.Append("</tbody>\n</table></div>\n");
    }

    private static void WriteSheets(StringBuilder html, ImageSection section)
    {
        html.Append("<div class=\"sheets\">\n");
        foreach (var (caption, sheet) in section.Sheets)
        {
            using var png = new MemoryStream();
            new PngCodec().Encode(sheet, null, ".png", png);
            var data = Convert.ToBase64String(png.GetBuffer(), 0, (int)png.Length);
            html.Append($"<figure><img alt=\"{Escape(caption)}\" src=\"data:image/png;base64,{data}\"><figcaption>{Escape(caption)}</figcaption></figure>\n");
        }

        html.Append("</div>\n");
    }
}
