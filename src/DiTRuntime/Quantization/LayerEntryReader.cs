using System.Text.Json;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>Reads the entry of a layer in a packed file.</summary>
/// <param name="path">The file, for errors.</param>
/// <param name="name">The layer, for errors.</param>
internal sealed class LayerEntryReader(string path, string name)
{
    private const string Dense = "dense", Group = "group", Codebook = "codebook", Product = "product";

    private static readonly Dictionary<string, string[]> s_keys = new(StringComparer.Ordinal)
    {
        [Dense] = [],
        [Group] = ["bits", "group", "tail", "abits", "agroup", "static"],
        [Codebook] = ["k", "d", "parts", "scale", "abits", "agroup", "static"],
        [Product] = ["k", "d", "pool", "scale", "abits", "agroup", "static"],
    };

    /// <summary>Reads the entry.</summary>
    /// <exception cref="InvalidFileException">It is incomplete, or holds anything unknown or impossible.</exception>
    public LayerFormat Read(JsonElement entry, int outputs, int inputs)
    {
        if (entry.ValueKind != JsonValueKind.Object) throw Wrong("its entry is not a JSON object");
        var kind = entry.TryGetProperty("format", out var text) && text.ValueKind == JsonValueKind.String ? text.GetString()! : throw Wrong("its entry names no format");
        if (!s_keys.TryGetValue(kind, out var keys)) throw Wrong($"unknown format {TensorRules.Printable(kind)}; {Group}, {Codebook}, {Product} or {Dense} was expected");
        foreach (var property in entry.EnumerateObject())
            if (property.Name != "format" && !keys.Contains(property.Name))
                throw Wrong($"unknown property {TensorRules.Printable(property.Name)} of the format {kind}");
        if (kind == Dense) return LayerFormat.Dense;
        WeightFormat weights = kind == Group ? new GroupFormat(Number(entry, "bits"), Number(entry, "group")) : ReadCodebook(entry, kind == Product);
        if (weights.Problem(outputs, inputs) is { } problem) throw Wrong(problem);
        if (weights is GroupFormat groups) CheckTail(entry, groups, inputs);
        var format = ReadActivations(entry, weights);
        return format.Problem(outputs, inputs) is { } wrong ? throw Wrong(wrong) : format;
    }

    private CodebookFormat ReadCodebook(JsonElement entry, bool isProduct) => new(Number(entry, "k"), Number(entry, "d"))
    {
        IsProduct = isProduct,
        PoolSize = isProduct ? Number(entry, "pool") : 0,
        Parts = isProduct ? 1 : Number(entry, "parts"),
        HasRowScales = Truth(entry, "scale"),
    };

    /// <summary>A group that does not divide is no accident only where the entry says what is left over.</summary>
    private void CheckTail(JsonElement entry, GroupFormat format, int inputs)
    {
        var tail = entry.TryGetProperty("tail", out _) ? Number(entry, "tail") : 0;
        if (format.Tail(inputs) is var left && left != tail)
            throw Wrong($"group {format.GroupSize} does not divide the {inputs} columns: {left} are left over; the entry says {tail}");
    }

    private LayerFormat ReadActivations(JsonElement entry, WeightFormat weights)
    {
        var bits = Number(entry, "abits");
        if (bits == 16)
        {
            return entry.TryGetProperty("agroup", out _) || entry.TryGetProperty("static", out _)
                ? throw Wrong("agroup or static beside abits 16; they belong to quantized activations")
                : new LayerFormat(weights);
        }

        if (bits != ActivationFormat.Bits) throw Wrong($"abits {bits}; {ActivationFormat.Bits} or 16 was expected");
        var group = Number(entry, "agroup");
        if (weights is GroupFormat groups && group != groups.GroupSize) throw Wrong($"agroup {group}; the weight's group {groups.GroupSize} was expected");
        return new LayerFormat(weights, Truth(entry, "static") ? ActivationMode.Static : ActivationMode.Dynamic, weights is GroupFormat ? 0 : group);
    }

    private int Number(JsonElement entry, string key) =>
        entry.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var number)
            ? number
            : throw Wrong($"no {key}: a whole number was expected");

    private bool Truth(JsonElement entry, string key) =>
        entry.TryGetProperty(key, out var value) && value.ValueKind is JsonValueKind.True or JsonValueKind.False
            ? value.GetBoolean()
            : throw Wrong($"no {key}: true or false was expected");

    private InvalidFileException Wrong(string problem) => new(path, $"layer {name}: {problem}");
}
