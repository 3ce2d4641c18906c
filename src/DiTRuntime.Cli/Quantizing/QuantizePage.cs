using System.Text.Json.Nodes;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Reporting;

namespace DiTRuntime.Cli.Quantizing;

/// <summary>The page about a quantization: what was asked for, what each layer lost, where the bytes are.</summary>
internal static class QuantizePage
{
    private static readonly string[] s_columns = ["layer", "format", "bytes", "weight error", "output error", "seconds"];

    /// <summary>Writes the page.</summary>
    /// <param name="folder">Where.</param>
    /// <param name="model">The model's name.</param>
    /// <param name="settings">What was asked for.</param>
    /// <param name="report">What came of it.</param>
    /// <returns>The page's path.</returns>
    /// <exception cref="OutputException">It cannot be written.</exception>
    public static string Save(string folder, string model, QuantizeSettings settings, QuantizeReport report)
    {
        var page = new HtmlReport($"{model}, {settings.FormatText} by {settings.MethodName}", "What each layer lost, and where the bytes are.")
            .Fact("model", model)
            .Fact("bytes", $"{report.ByteCount:N0}")
            .Fact("smaller than fp16", $"{report.CompressionOfHalf:F2}×").Fact("smaller than fp32", $"{report.CompressionOfSingle:F2}×")
            .Fact("seconds", report.ResumedBlocks == 0 ? $"{report.Seconds:F1}" : $"{report.Seconds:F1}, after {report.ResumedBlocks} blocks of an earlier run");
        foreach (var (name, value) in JsonNode.Parse(settings.MethodJson())!.AsObject()) page.Fact(name, $"{value}");
        page.Add(Errors("Error of the weights", report, layer => layer.WeightError) with { Explanation = "‖W − Ŵ‖ / ‖W‖ of every layer of the blocks; lower is better." });
        if (report.Layers.Any(layer => layer.OutputError is not null))
        {
            page.Add(Errors("Error of the outputs", report, layer => layer.OutputError ?? double.NaN) with
            {
                Explanation = "√(tr ΔHΔᵀ / tr WHWᵀ), Δ = W − Ŵ, H from the calibration inputs: the part of each layer's output that is lost; lower is better.",
            });
        }

        return page.Add(Parts(report)).Add(Layers(report)).Save(folder);
    }

    /// <summary>An error of every layer: a group of bars per block, a colour per kind of layer.</summary>
    private static BarSection Errors(string title, QuantizeReport report, Func<LayerReport, double> error)
    {
        var blocks = report.Layers.Where(layer => Split(layer).Block is not null).GroupBy(layer => Split(layer).Block!).ToArray();
        var kinds = blocks.SelectMany(block => block.Select(layer => Split(layer).Kind)).Distinct();
        return new BarSection(
            title, "block", new ChartAxis("relative error"), [.. blocks.Select(block => block.Key)],
            [.. kinds.Select(kind => new ChartSeries(kind, [.. blocks.Select(block => (0.0, block.Where(layer => Split(layer).Kind == kind).Select(error).FirstOrDefault(double.NaN)))]))]);
    }

    /// <summary>Bytes of each kind of layer over all blocks; what is packed nowhere is the rest of the file.</summary>
    private static TableSection Parts(QuantizeReport report)
    {
        var parts = report.Layers.GroupBy(layer => Split(layer).Kind, (kind, layers) => (Name: kind, Bytes: layers.Sum(layer => layer.ByteCount))).ToList();
        parts.Add(("not packed, and header", report.ByteCount - parts.Sum(part => part.Bytes)));
        return new TableSection("Bytes per part", ["part", "bytes", "of the file"], [
            .. parts.Select(part => (IReadOnlyList<string>)[part.Name, $"{part.Bytes:N0}", $"{100.0 * part.Bytes / report.ByteCount:F1} %"])])
        {
            Explanation = "Layers of the blocks by their kind, over all blocks.",
        };
    }

    private static TableSection Layers(QuantizeReport report) => new("Every layer", s_columns, [
        .. report.Layers.Select(layer => (IReadOnlyList<string>)[
            layer.Name, layer.Format, $"{layer.ByteCount:N0}", $"{layer.WeightError:F6}", layer.OutputError is { } error ? $"{error:F6}" : "", $"{layer.Seconds:F2}"])]);

    /// <summary>"blocks.3.attn.qkv" is attn.qkv of block 3; a layer outside the blocks is a kind of its own.</summary>
    private static (string? Block, string Kind) Split(LayerReport layer) =>
        layer.Name.Split('.', 3) is ["blocks", var block, var kind] ? (block, kind) : (null, layer.Name);
}
