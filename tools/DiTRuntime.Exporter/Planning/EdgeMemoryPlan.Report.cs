using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace DiTRuntime.Exporter.Planning;

internal sealed partial record EdgeMemoryPlan
{
    /// <inheritdoc/>
    public JsonObject Json() => new()
    {
        ["image_size"] = ImageSide,
        ["batch"] = Batch,
        ["threads"] = Threads,
        ["tile_size"] = TileSide,
        ["table_rows"] = TableRows,
        ["weight_bytes"] = WeightBytes,
        ["memory_bytes"] = MemoryBytes,
        ["memory"] = new JsonArray([.. Parts.Select(part => (JsonNode)new JsonObject { ["part"] = part.Name, ["bytes"] = part.Bytes, ["shared"] = part.Shared })]),
        ["peak_bytes"] = PeakBytes,
        ["phases"] = new JsonObject { ["load"] = LoadBytes, ["sampling"] = SamplingBytes, ["decoding"] = DecodingBytes },
    };

    /// <inheritdoc/>
    public string Markdown()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"Planned for {Setting()}:\n\n| | MB |\n|---|---|\n");
        text.Append(CultureInfo.InvariantCulture, $"| weights, mapped: the system drops and reads them again as it likes | {Megabytes(WeightBytes)} |\n");
        foreach (var part in Parts) text.Append(CultureInfo.InvariantCulture, $"| {part.Name}{(part.Shared ? " (one of these at a time)" : "")} | {Megabytes(part.Bytes)} |\n");
        text.Append(CultureInfo.InvariantCulture, $"| allocated beside the weights | {Megabytes(MemoryBytes)} |\n| resident at most: loading {Megabytes(LoadBytes)}, sampling {Megabytes(SamplingBytes)}, decoding {Megabytes(DecodingBytes)} | {Megabytes(PeakBytes)} |\n");
        text.Append("\nA larger batch or more threads take more; `build/dit info .` shows it.");
        return text.ToString();
    }

    /// <inheritdoc/>
    public IEnumerable<string> Lines()
    {
        yield return string.Create(CultureInfo.InvariantCulture, $"memory for {Setting()}, tiles of {TileSide}:");
        yield return Line("weights, mapped", WeightBytes);
        foreach (var part in Parts) yield return Line(part.Name + (part.Shared ? " (one at a time)" : ""), part.Bytes);
        yield return Line("allocated beside the weights", MemoryBytes);
        yield return Line("peak, loading", LoadBytes);
        yield return Line("peak, sampling", SamplingBytes);
        yield return Line("peak, decoding", DecodingBytes);
    }

    private string Setting() => string.Create(CultureInfo.InvariantCulture, $"images of {ImageSide}x{ImageSide}, {Batch} at a time, {Threads} threads, {TableRows} rows of modulation");

    private static string Line(string name, long bytes) => $"  {name,-46}{Megabytes(bytes),10} MB";

    private static string Megabytes(long bytes) => (bytes / 1e6).ToString("0.00", CultureInfo.InvariantCulture);
}
