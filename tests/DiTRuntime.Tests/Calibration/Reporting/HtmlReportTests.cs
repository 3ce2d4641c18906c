using System.Xml.Linq;
using DiTRuntime.Calibration.Reporting;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Calibration.Reporting;

public sealed class HtmlReportTests
{
    [Test]
    public void Text_is_escaped_everywhere()
    {
        const string hostile = "<script>alert('\"&\u0007')</script>";
        var page = new HtmlReport(hostile, hostile).Fact(hostile, hostile)
            .Add(new TableSection(hostile, [hostile], [[hostile, hostile]]) { Explanation = hostile })
            .Add(new ScatterSection(hostile, new ChartAxis(hostile), new ChartAxis(hostile), [new ChartPoint(hostile, 1, 2)]))
            .Add(new LineSection(hostile, new ChartAxis(hostile), new ChartAxis(hostile), [Series(hostile), Series(hostile)]))
            .Add(new BarSection(hostile, hostile, new ChartAxis(hostile), [hostile, hostile], [Series(hostile), Series(hostile)]))
            .Add(new ImageSection(hostile, [(hostile, TestImages.Make(4, 4, 1))])).ToHtml();
        Assert.That(page, Does.Not.Contain("<script").And.Not.Contain('\u0007').And.Contain("&lt;script&gt;"));
    }

    [Test]
    public void Charts_are_well_formed_and_stay_in_their_frame()
    {
        var page = new HtmlReport("t", "s")
            .Add(new ScatterSection("a", new ChartAxis("x"), new ChartAxis("y", IsLogarithmic: true), [new("p", 1, 1e-5), new("q", 3, 2), new("hidden", 2, 0), new("hidden", double.NaN, 1)]))
            .Add(new LineSection("b", new ChartAxis("x"), new ChartAxis("y"), [Series("l")]))
            .Add(new BarSection("c", "layer", new ChartAxis("y"), ["1", "2"], [new ChartSeries("s", [(0, -3), (0, 200)])])).ToHtml();
        var drawings = System.Text.RegularExpressions.Regex.Matches(page, "<svg.*?</svg>", System.Text.RegularExpressions.RegexOptions.Singleline);
        Assert.That(drawings, Has.Count.EqualTo(3));
        foreach (System.Text.RegularExpressions.Match drawing in drawings)
            foreach (var element in XElement.Parse(drawing.Value).Descendants())
                foreach (var attribute in element.Attributes())
                    if (attribute.Name.LocalName is "x" or "y" or "cx" or "cy" or "x1" or "x2" or "y1" or "y2") Assert.That((double)attribute, Is.InRange(0, 950), element.ToString());
        Assert.That(page, Does.Not.Contain("NaN").And.Not.Contain("hidden"));
    }

    [TestCase(0, "0")]
    [TestCase(0.25, "0.25")]
    [TestCase(1500, "1,500")]
    [TestCase(1e-5, "10⁻⁵")]
    [TestCase(2.5e7, "2.5·10⁷")]
    public void Values_are_labelled_for_people(double value, string label) => Assert.That(AxisScale.Label(value), Is.EqualTo(label));

    [Test]
    public void Ticks_are_round_and_cover_the_values()
    {
        var scale = new AxisScale(new ChartAxis("x"), [3.2, 97], 0, 100);
        Assert.That(scale.Ticks, Is.EqualTo(new double[] { 0, 20, 40, 60, 80, 100 }));
        Assert.That(scale.Place(50), Is.EqualTo(50).Within(1e-9));
        var powers = new AxisScale(new ChartAxis("x", IsLogarithmic: true), [2e-5, 0.3], 0, 1);
        Assert.That(powers.Ticks, Is.EqualTo(new[] { 1e-5, 1e-4, 1e-3, 1e-2, 1e-1 }).Within(1e-9).Percent);
    }

    [Test]
    public void A_single_value_still_has_an_axis() =>
        Assert.That(new AxisScale(new ChartAxis("x"), [7, 7], 0, 100).Place(7), Is.EqualTo(50).Within(20));

    private static ChartSeries Series(string name) => new(name, [(0, 1), (10, 4)]);
}
