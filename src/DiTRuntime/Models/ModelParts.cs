using DiTRuntime.Checkpoints;

namespace DiTRuntime.Models;

/// <summary>What one part of a DiT takes in its file.</summary>
/// <param name="Name">"embedders", "attention", "MLP", "adaLN", "final layer", "other".</param>
/// <param name="TensorCount">Tensors.</param>
/// <param name="ElementCount">Elements.</param>
/// <param name="ByteCount">Bytes as stored.</param>
public sealed record ModelPart(string Name, int TensorCount, long ElementCount, long ByteCount);

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

    private static string PartOf(string tensor) =>
        Array.Find(s_marks, mark => tensor.Contains(mark.Mark, StringComparison.Ordinal)).Part ?? "other";
}
