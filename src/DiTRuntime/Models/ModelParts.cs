using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Models;

/// <summary>What one part of a DiT takes in its file.</summary>
/// <param name="Name">"embedders", "attention", "MLP", "adaLN", "final layer", "other".</param>
/// <param name="TensorCount">Tensors.</param>
/// <param name="ElementCount">Elements.</param>
/// <param name="ByteCount">Bytes as stored.</param>
public sealed record ModelPart(string Name, int TensorCount, long ElementCount, long ByteCount);

/// <summary>What a layer of a packed model takes in its file.</summary>
/// <param name="Name">Official name.</param>
/// <param name="Part">The part it belongs to, as in <see cref="ModelPart"/>.</param>
/// <param name="Format">How it is stored.</param>
/// <param name="WeightCount">N·K: weights, the bias not counted.</param>
/// <param name="WeightBytes">Bytes of codes and all they need, or of the floating-point weight.</param>
/// <param name="ByteCount">Bytes of all its tensors.</param>
public sealed record LayerSize(string Name, string Part, LayerFormat Format, long WeightCount, long WeightBytes, long ByteCount)
{
    /// <summary>Bits per weight, scales, zero points and codebooks included.</summary>
    public double BitsPerWeight => 8.0 * WeightBytes / WeightCount;
}

/// <summary>Tells how a checkpoint's bytes are spread over the parts of a DiT.</summary>
public static class ModelParts
{
    /// <summary>The part of each name, most telling marks first; both layouts.</summary>
    private static readonly (string Mark, string Part)[] s_marks =
    [
        ("final_layer.", "final layer"), ("proj_out_", "final layer"),
        ("x_embedder.", "embedders"), ("t_embedder.", "embedders"), ("y_embedder.", "embedders"), ("pos_embed", "embedders"), (".norm1.emb.", "embedders"),
        (".attn.", "attention"), (".attn1.", "attention"),
        (".mlp.", "MLP"), (".ff.", "MLP"),
        (".adaLN_modulation.", "adaLN"), (".norm1.linear.", "adaLN"),
    ];

    private static readonly string[] s_order = ["embedders", "attention", "MLP", "adaLN", "final layer", "other"];

    /// <summary>The parts that a checkpoint has, in the order of the forward pass; tensors of no DiT are "other".</summary>
    public static IReadOnlyList<ModelPart> Of(ICheckpoint checkpoint) =>
    [
        .. checkpoint.Tensors.GroupBy(tensor => PartOf(tensor.Name))
            .Select(part => new ModelPart(part.Key, part.Count(), part.Sum(t => (long)t.Count), part.Sum(t => t.ByteCount)))
            .OrderBy(part => Array.IndexOf(s_order, part.Name)),
    ];

    /// <summary>The layers of a packed model, in the order of the forward pass; empty for a model that is not packed.</summary>
    public static IReadOnlyList<LayerSize> Layers(DiTWeights weights) =>
        PackedModel.Recognises(weights.Checkpoint) ? [.. weights.Layers.Select(layer => SizeOf(layer, weights.Checkpoint))] : [];

    /// <summary>Bits per weight of the linear layers of the blocks, everything counted that they need but biases; of any model, packed or not.</summary>
    public static double BlockBitsPerWeight(DiTWeights weights)
    {
        var packed = Layers(weights).Where(layer => layer.Name.StartsWith("blocks.", StringComparison.Ordinal)).ToArray();
        if (packed.Length > 0) return BitsPerWeight(packed);
        var tensors = weights.Checkpoint.Tensors.Where(tensor => PartOf(tensor.Name) is "attention" or "MLP" or "adaLN" && tensor.Shape.Length > 1).ToArray();
        return 8.0 * tensors.Sum(tensor => tensor.ByteCount) / tensors.Sum(tensor => (long)tensor.Count);
    }

    /// <summary>Bits per weight over several layers.</summary>
    public static double BitsPerWeight(IEnumerable<LayerSize> layers)
    {
        var (weights, bytes) = layers.Aggregate((Weights: 0L, Bytes: 0L), (sum, layer) => (sum.Weights + layer.WeightCount, sum.Bytes + layer.WeightBytes));
        return 8.0 * bytes / weights;
    }

    private static LayerSize SizeOf(LinearWeight layer, ICheckpoint checkpoint)
    {
        long Bytes(string suffix) => checkpoint.TryGet(layer.Name + suffix, out var tensor) ? tensor.ByteCount : 0;
        var weightBytes = Bytes(PackedTensors.Weight) + (layer.LayerFormat.Weights?.Tensors(layer.Name, layer.Outputs, layer.Inputs).Sum(tensor => tensor.ByteCount) ?? 0);
        var total = weightBytes + Bytes(PackedTensors.Bias) + Bytes(PackedTensors.ActivationScales) + Bytes(PackedTensors.ActivationZeros);
        return new LayerSize(layer.Name, PartOf(layer.Name + '.'), layer.LayerFormat, (long)layer.Outputs * layer.Inputs, weightBytes, total);
    }

    private static string PartOf(string tensor) =>
        Array.Find(s_marks, mark => tensor.Contains(mark.Mark, StringComparison.Ordinal)).Part ?? "other";
}
