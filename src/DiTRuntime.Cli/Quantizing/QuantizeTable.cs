using System.Globalization;
using System.Text.Json.Nodes;
using DiTRuntime.Calibration.Quantizing;

namespace DiTRuntime.Cli.Quantizing;

/// <summary>Prints what a quantization made: a line per layer, then the sums.</summary>
internal static class QuantizeTable
{
    /// <summary>Prints the table, or the JSON object of a --json run.</summary>
    public static void Print(Session session, string output, QuantizeSettings settings, QuantizeReport report)
    {
        if (session.Json) session.Print(Json(output, settings, report));
        else PrintText(session, output, report);
    }

    private static void PrintText(Session session, string output, QuantizeReport report)
    {
        var width = report.Layers.Max(layer => layer.Name.Length);
        session.Print($"{"layer".PadRight(width)}  format               bytes  weight error  output error  seconds");
        foreach (var layer in report.Layers)
            session.Print(Text($"{layer.Name.PadRight(width)}  {layer.Format,-14} {layer.ByteCount,11}  {layer.WeightError,12:0.000000}  {Optional(layer.OutputError),12}  {layer.Seconds,7:0.00}"));
        session.Print(Text($"{output}: {report.ByteCount:N0} bytes, {report.CompressionOfHalf:0.00} times smaller than fp16, {report.CompressionOfSingle:0.00} than fp32; {report.Seconds:0.0} s"));
    }

    private static JsonObject Json(string output, QuantizeSettings settings, QuantizeReport report) => new()
    {
        ["file"] = output,
        ["bytes"] = report.ByteCount,
        ["parameters"] = report.ParameterCount,
        ["compression_fp16"] = report.CompressionOfHalf,
        ["compression_fp32"] = report.CompressionOfSingle,
        ["seconds"] = report.Seconds,
        ["resumed_blocks"] = report.ResumedBlocks,
        ["peak_resident_bytes"] = ResidentMemory.PeakBytes(),
        ["method"] = JsonNode.Parse(settings.MethodJson()),
        ["layers"] = new JsonArray([.. report.Layers.Select(layer => (JsonNode)new JsonObject
        {
            ["name"] = layer.Name,
            ["format"] = layer.Format,
            ["bytes"] = layer.ByteCount,
            ["weight_error"] = layer.WeightError,
            ["output_error"] = layer.OutputError,
            ["seconds"] = layer.Seconds,
        })]),
    };

    private static string Optional(double? value) => value is { } number ? Text($"{number:0.000000}") : "";

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
