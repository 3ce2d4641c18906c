using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Models;

/// <summary>The weights of one DiT block, named as in the official layout.</summary>
/// <param name="Modulation">adaLN_modulation.1 [6H, H]: shift, scale, gate of attention; shift, scale, gate of the MLP.</param>
/// <param name="Qkv">attn.qkv [3H, H].</param>
/// <param name="Projection">attn.proj [H, H].</param>
/// <param name="Fc1">mlp.fc1 [M, H].</param>
/// <param name="Fc2">mlp.fc2 [H, M].</param>
public sealed record BlockWeights(LinearWeight Modulation, LinearWeight Qkv, LinearWeight Projection, LinearWeight Fc1, LinearWeight Fc2);

/// <summary>A DiT's weights, by role, whatever layout the file had. Backed by the mapped file.</summary>
public sealed class DiTWeights : IDisposable
{
    /// <summary>The architecture.</summary>
    public required DiTConfig Config { get; init; }

    /// <summary>The open file; disposed with the weights.</summary>
    public required ICheckpoint Checkpoint { get; init; }

    /// <summary>x_embedder.proj [H, C·p·p].</summary>
    public required LinearWeight PatchEmbed { get; init; }

    /// <summary>pos_embed [T·H] in fp32: from the file where it fits the image size, else computed.</summary>
    public required float[] Positions { get; init; }

    /// <summary>t_embedder.mlp.0 [H, 256].</summary>
    public required LinearWeight TimestepIn { get; init; }

    /// <summary>t_embedder.mlp.2 [H, H].</summary>
    public required LinearWeight TimestepOut { get; init; }

    /// <summary>y_embedder.embedding_table [classes + 1, H].</summary>
    public required LinearWeight LabelTable { get; init; }

    /// <summary>The blocks, first to last.</summary>
    public required IReadOnlyList<BlockWeights> Blocks { get; init; }

    /// <summary>final_layer.adaLN_modulation.1 [2H, H]: shift, scale.</summary>
    public required LinearWeight FinalModulation { get; init; }

    /// <summary>final_layer.linear [p·p·Cout, H].</summary>
    public required LinearWeight FinalLinear { get; init; }

    /// <summary>Names of the classes, where the file or the data set is known; else empty.</summary>
    public required ClassLabels Labels { get; init; }

    /// <summary>Facts worth telling the user about the reading: copies dropped, positions recomputed.</summary>
    public IReadOnlyList<string> Remarks { get; init; } = [];

    /// <summary>Every layer, in the order of the forward pass.</summary>
    public IEnumerable<LinearWeight> Layers =>
    [
        PatchEmbed, TimestepIn, TimestepOut, LabelTable,
        .. Blocks.SelectMany(block => new[] { block.Modulation, block.Qkv, block.Projection, block.Fc1, block.Fc2 }),
        FinalModulation, FinalLinear,
    ];

    /// <summary>Weights and biases of all layers, however many bytes they take.</summary>
    public long ParameterCount => Layers.Sum(layer => (long)layer.Outputs * layer.Inputs + (layer.Bias?.Length ?? 0));

    /// <summary>The same model with other blocks; one of the two is to be disposed.</summary>
    internal DiTWeights WithBlocks(IReadOnlyList<BlockWeights> blocks) => new()
    {
        Config = Config,
        Checkpoint = Checkpoint,
        PatchEmbed = PatchEmbed,
        Positions = Positions,
        TimestepIn = TimestepIn,
        TimestepOut = TimestepOut,
        LabelTable = LabelTable,
        Blocks = blocks,
        FinalModulation = FinalModulation,
        FinalLinear = FinalLinear,
        Labels = Labels,
        Remarks = Remarks,
    };

    /// <inheritdoc/>
    public void Dispose() => Checkpoint.Dispose();
}
