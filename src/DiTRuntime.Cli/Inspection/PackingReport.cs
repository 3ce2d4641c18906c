using System.Globalization;
using System.Text.Json.Nodes;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cli.Inspection;

/// <summary>Tells how a packed model spends its bits.</summary>
internal static class PackingReport
{
    /// <summary>Bytes of a weight in the half-precision file that compression is measured against.</summary>
    private const int HalfBytes = 2;

    /// <summary>Prints method and bits per weight, per part, and with --verbose per layer.</summary>
    public static void Print(DiTWeights weights, IReadOnlyList<LayerSize> layers, Session session)
    {
        session.Print($"  packed   {Bits(ModelParts.BitsPerWeight(layers))} bits per weight, blocks {Bits(ModelParts.BitsPerWeight(Blocks(layers)))}; {Times(Compression(weights, layers))}x smaller than F16");
        if (Method(weights) is { } method) session.Print($"  method   {method.ToJsonString()}");
        if (Source(weights) is { } source) session.Print($"  source   {source}");
        foreach (var part in layers.GroupBy(layer => (layer.Part, Format: layer.Format.ToString())))
            session.Print($"  {part.Key.Part,-12} {part.Key.Format,-18} {part.Count(),4} layers {ModelReport.Number(part.Sum(l => l.WeightCount)),14} weights {ModelReport.Number(part.Sum(l => l.ByteCount)),14} bytes {Bits(ModelParts.BitsPerWeight(part)),7} bits per weight");
        if (!session.Verbose) return;
        foreach (var layer in layers)
            session.Print($"  {layer.Name,-34} {layer.Format,-18} {ModelReport.Number(layer.WeightCount),12} weights {ModelReport.Number(layer.ByteCount),12} bytes {Bits(layer.BitsPerWeight),7} bits per weight");
    }

    /// <summary>The same for machines; null for a model that is not packed.</summary>
    public static JsonObject? Json(DiTWeights weights)
    {
        var layers = ModelParts.Layers(weights);
        if (layers.Count == 0) return null;
        return new JsonObject
        {
            ["bits_per_weight"] = ModelParts.BitsPerWeight(layers),
            ["block_bits_per_weight"] = ModelParts.BitsPerWeight(Blocks(layers)),
            ["compression"] = Compression(weights, layers),
            ["method"] = Method(weights),
            ["source"] = Source(weights),
            ["parts"] = new JsonArray([.. layers.GroupBy(layer => layer.Part).Select(part => (JsonNode)new JsonObject
            {
                ["name"] = part.Key,
                ["weights"] = part.Sum(layer => layer.WeightCount),
                ["bytes"] = part.Sum(layer => layer.ByteCount),
                ["bits_per_weight"] = ModelParts.BitsPerWeight(part),
            })]),
            ["layers"] = new JsonArray([.. layers.Select(layer => (JsonNode)Layer(layer))]),
        };
    }

    private static JsonObject Layer(LayerSize layer)
    {
        var isQuantized = layer.Format.Activations != ActivationMode.Float;
        return new JsonObject
        {
            ["name"] = layer.Name,
            ["format"] = layer.Format.ToString(),
            ["bits"] = layer.Format.Weights?.CodeBits,
            ["group"] = (layer.Format.Weights as GroupFormat)?.GroupSize,
            ["k"] = (layer.Format.Weights as CodebookFormat)?.CodebookSize,
            ["d"] = (layer.Format.Weights as CodebookFormat)?.VectorLength,
            ["abits"] = isQuantized ? ActivationFormat.Bits : 16,
            ["static"] = layer.Format.Activations == ActivationMode.Static,
            ["weights"] = layer.WeightCount,
            ["bytes"] = layer.ByteCount,
            ["bits_per_weight"] = layer.BitsPerWeight,
        };
    }

    private static IEnumerable<LayerSize> Blocks(IEnumerable<LayerSize> layers) => layers.Where(layer => layer.Name.StartsWith("blocks.", StringComparison.Ordinal));

    /// <summary>Bytes of weights and biases in half precision over the bytes of the file's tensors; positions count on neither side.</summary>
    private static double Compression(DiTWeights weights, IReadOnlyList<LayerSize> layers) =>
        HalfBytes * weights.Layers.Sum(layer => (double)layer.Outputs * layer.Inputs + (layer.Bias?.Length ?? 0)) / layers.Sum(layer => layer.ByteCount);

    private static JsonNode? Method(DiTWeights weights) =>
        weights.Checkpoint.Metadata.TryGetValue(PackedModel.MethodKey, out var method) ? JsonNode.Parse(method) : null;

    private static string? Source(DiTWeights weights) => weights.Checkpoint.Metadata.GetValueOrDefault(PackedModel.SourceKey);

    private static string Times(double ratio) => ratio.ToString("f2", CultureInfo.InvariantCulture);

    private static string Bits(double bits) => bits.ToString("f3", CultureInfo.InvariantCulture);
}
