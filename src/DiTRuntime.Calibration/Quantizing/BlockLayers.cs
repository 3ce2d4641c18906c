using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>The linear layers of a block, in the order in which they are quantized.</summary>
internal static class BlockLayers
{
    /// <summary>Bytes up to which the blocks' weights in fp32 are held; larger ones are prepared when they are used.</summary>
    private const long HeldBytes = 512L << 20;

    /// <summary>Whether the weights of all blocks in fp32 are few enough to be held in memory.</summary>
    public static bool AreHeld(DiTWeights weights) =>
        weights.Blocks.Sum(block => Of(block).Sum(layer => (long)layer.Outputs * layer.Inputs)) * sizeof(float) <= HeldBytes;

    /// <summary>Which weights a model holds that calibration runs.</summary>
    public static WeightResidency Residency(DiTWeights weights) => AreHeld(weights) ? WeightResidency.All : WeightResidency.None;

    /// <summary>qkv, proj, fc1, fc2: the layers whose inputs can be quantized.</summary>
    public static LinearWeight[] ThatReadTokens(BlockWeights block) => [block.Qkv, block.Projection, block.Fc1, block.Fc2];

    /// <summary>adaLN, then those that read tokens.</summary>
    public static LinearWeight[] Of(BlockWeights block) => [block.Modulation, .. ThatReadTokens(block)];
}
