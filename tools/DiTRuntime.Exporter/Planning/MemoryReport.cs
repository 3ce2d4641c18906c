using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace DiTRuntime.Exporter.Planning;

/// <summary>A memory plan for people and for programs.</summary>
internal static class MemoryReport
{
    /// <summary>What memory.json holds, and <c>dit export --json</c> prints.</summary>
    public static JsonObject Json(EdgeMemoryPlan plan) => new()
    {
        ["image_size"] = plan.ImageSide,
        ["batch"] = plan.Batch,
        ["threads"] = plan.Threads,
        ["tile_size"] = plan.TileSide,
        ["table_rows"] = plan.TableRows,
        ["weight_bytes"] = plan.WeightBytes,
        ["memory_bytes"] = plan.MemoryBytes,
        ["memory"] = new JsonArray([.. plan.Parts.Select(part => (JsonNode)new JsonObject { ["part"] = part.Name, ["bytes"] = part.Bytes, ["shared"] = part.Shared })]),
        ["peak_bytes"] = plan.PeakBytes,
        ["phases"] = new JsonObject { ["load"] = plan.LoadBytes, ["sampling"] = plan.SamplingBytes, ["decoding"] = plan.DecodingBytes },
    };

    /// <summary>A table in Markdown.</summary>
    public static string Markdown(EdgeMemoryPlan plan)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"Planned for {Setting(plan)}:\n\n| | MB |\n|---|---|\n");
        text.Append(CultureInfo.InvariantCulture, $"| weights, mapped: the system drops and reads them again as it likes | {Megabytes(plan.WeightBytes)} |\n");
        foreach (var part in plan.Parts) text.Append(CultureInfo.InvariantCulture, $"| {part.Name}{(part.Shared ? " (one of these at a time)" : "")} | {Megabytes(part.Bytes)} |\n");
        text.Append(CultureInfo.InvariantCulture, $"| allocated beside the weights | {Megabytes(plan.MemoryBytes)} |\n| resident at most: loading {Megabytes(plan.LoadBytes)}, sampling {Megabytes(plan.SamplingBytes)}, decoding {Megabytes(plan.DecodingBytes)} | {Megabytes(plan.PeakBytes)} |\n");
        text.Append("\nA larger batch or more threads take more; `build/dit info .` shows it.");
        return text.ToString();
    }

    /// <summary>The plan on lines, for a terminal.</summary>
    public static IEnumerable<string> Lines(EdgeMemoryPlan plan)
    {
        yield return string.Create(CultureInfo.InvariantCulture, $"memory for {Setting(plan)}, tiles of {plan.TileSide}:");
        yield return Line("weights, mapped", plan.WeightBytes);
        foreach (var part in plan.Parts) yield return Line(part.Name + (part.Shared ? " (one at a time)" : ""), part.Bytes);
        yield return Line("allocated beside the weights", plan.MemoryBytes);
        yield return Line("peak, loading", plan.LoadBytes);
        yield return Line("peak, sampling", plan.SamplingBytes);
        yield return Line("peak, decoding", plan.DecodingBytes);
    }

    /// <summary>What the plan depends on; a GPU's has no threads.</summary>
    private static string Setting(EdgeMemoryPlan plan)
    {
        var images = string.Create(CultureInfo.InvariantCulture, $"images of {plan.ImageSide}x{plan.ImageSide}, {plan.Batch} at a time");
        return plan.TableRows == 0 ? images : string.Create(CultureInfo.InvariantCulture, $"{images}, {plan.Threads} threads, {plan.TableRows} rows of modulation");
    }

    private static string Line(string name, long bytes) => $"  {name,-46}{Megabytes(bytes),10} MB";

    private static string Megabytes(long bytes) => (bytes / 1e6).ToString("0.00", CultureInfo.InvariantCulture);
}
