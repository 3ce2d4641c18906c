namespace DiTRuntime.Models;

/// <summary>One layer of a DiT under its official name.</summary>
/// <param name="Name">"blocks.3.attn.qkv"; the tensors are <c>Name.weight</c> and <c>Name.bias</c>.</param>
/// <param name="Shape">Shape of the weight; the bias has the first extent.</param>
/// <param name="HasBias">Whether there is a bias.</param>
internal sealed record DiTLayer(string Name, int[] Shape, bool HasBias = true)
{
    /// <summary>K: what one output is computed from.</summary>
    public int Inputs => Shape.Skip(1).Aggregate(1, (product, extent) => checked(product * extent));

    /// <summary>Whether it belongs to a block.</summary>
    public bool IsInBlock => Name.StartsWith("blocks.", StringComparison.Ordinal);

    /// <summary>Whether it is a layer of attention or MLP, which reads every token; adaLN reads one row per sample.</summary>
    public bool ReadsTokens => IsInBlock && !Name.EndsWith(".adaLN_modulation.1", StringComparison.Ordinal);
}

/// <summary>A tensor that a layout demands.</summary>
internal sealed record ExpectedTensor(string Name, int[] Shape);

/// <summary>
/// How a published implementation names and cuts a DiT's tensors: the official repository (dit's <c>models.py</c>), or diffusers.
/// Layers go by their official names throughout the runtime.
/// </summary>
internal sealed class DiTLayout
{
    private const string DiffusersEmbedder = "norm1.emb.";

    private readonly Func<string, IReadOnlyList<string>> _parts;

    private DiTLayout(string name, string blockPrefix, Func<string, IReadOnlyList<string>> parts)
    {
        Name = name;
        BlockPrefix = blockPrefix;
        _parts = parts;
    }

    /// <summary>facebookresearch/DiT: every layer one tensor, the positions stored.</summary>
    public static DiTLayout Official { get; } = new("official", "blocks.", layer => [layer]);

    /// <summary>diffusers: q, k and v apart, the embedders copied into every block, the positions not stored.</summary>
    public static DiTLayout Diffusers { get; } = new("diffusers", "transformer_blocks.", DiffusersParts);

    /// <summary>The layout's name, for messages.</summary>
    public string Name { get; }

    /// <summary>What a block's tensors begin with, before the block's number.</summary>
    public string BlockPrefix { get; }

    /// <summary>Whether the positions are a tensor of the file.</summary>
    public bool StoresPositions => this == Official;

    /// <summary>The layers of a DiT, in the order of the forward pass.</summary>
    public static IEnumerable<DiTLayer> Layers(DiTConfig config)
    {
        var (hidden, patch) = (config.HiddenSize, config.PatchSize);
        yield return new("x_embedder.proj", [hidden, config.InChannels, patch, patch]);
        yield return new("t_embedder.mlp.0", [hidden, config.FrequencySize]);
        yield return new("t_embedder.mlp.2", [hidden, hidden]);
        yield return new("y_embedder.embedding_table", [config.ClassCount + 1, hidden], HasBias: false);
        for (var i = 0; i < config.Depth; i++)
        {
            yield return new($"blocks.{i}.adaLN_modulation.1", [6 * hidden, hidden]);
            yield return new($"blocks.{i}.attn.qkv", [3 * hidden, hidden]);
            yield return new($"blocks.{i}.attn.proj", [hidden, hidden]);
            yield return new($"blocks.{i}.mlp.fc1", [config.MlpSize, hidden]);
            yield return new($"blocks.{i}.mlp.fc2", [hidden, config.MlpSize]);
        }

        yield return new("final_layer.adaLN_modulation.1", [2 * hidden, hidden]);
        yield return new("final_layer.linear", [patch * patch * config.OutChannels, hidden]);
    }

    /// <summary>The names under which this layout stores a layer, to be stacked by rows.</summary>
    public IReadOnlyList<string> Parts(string layer) => _parts(layer);

    /// <summary>Every tensor that a file of this layout holds.</summary>
    public IEnumerable<ExpectedTensor> Tensors(DiTConfig config)
    {
        if (StoresPositions) yield return new("pos_embed", [1, config.TokenCount, config.HiddenSize]);
        foreach (var layer in Layers(config))
        {
            var parts = Parts(layer.Name);
            int[] shape = [layer.Shape[0] / parts.Count, .. layer.Shape[1..]];
            foreach (var name in parts.SelectMany(part => Copies(part, config).Prepend(part)))
            {
                yield return new($"{name}.weight", shape);
                if (layer.HasBias) yield return new($"{name}.bias", [shape[0]]);
            }
        }
    }

    /// <summary>Further places that hold the same layer again: diffusers keeps the embedders in every block.</summary>
    public static IEnumerable<string> Copies(string part, DiTConfig config) =>
        part.Contains(DiffusersEmbedder, StringComparison.Ordinal)
            ? Enumerable.Range(1, config.Depth - 1).Select(i => part.Replace("blocks.0.", $"blocks.{i}.", StringComparison.Ordinal))
            : [];

    private static IReadOnlyList<string> DiffusersParts(string layer)
    {
        const string Embedder = "transformer_blocks.0." + DiffusersEmbedder;
        switch (layer)
        {
            case "x_embedder.proj": return ["pos_embed.proj"];
            case "t_embedder.mlp.0": return [Embedder + "timestep_embedder.linear_1"];
            case "t_embedder.mlp.2": return [Embedder + "timestep_embedder.linear_2"];
            case "y_embedder.embedding_table": return [Embedder + "class_embedder.embedding_table"];
            case "final_layer.adaLN_modulation.1": return ["proj_out_1"];
            case "final_layer.linear": return ["proj_out_2"];
        }

        var role = layer.IndexOf('.', "blocks.".Length);
        var block = "transformer_" + layer[..role];
        return layer[(role + 1)..] switch
        {
            "adaLN_modulation.1" => [$"{block}.norm1.linear"],
            "attn.qkv" => [$"{block}.attn1.to_q", $"{block}.attn1.to_k", $"{block}.attn1.to_v"],
            "attn.proj" => [$"{block}.attn1.to_out.0"],
            "mlp.fc1" => [$"{block}.ff.net.0.proj"],
            "mlp.fc2" => [$"{block}.ff.net.2"],
            _ => throw new ArgumentException($"{layer} is no layer of a DiT", nameof(layer)),
        };
    }
}
