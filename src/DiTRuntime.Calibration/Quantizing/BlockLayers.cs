using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>The linear layers of a block, in the order in which they are quantized.</summary>
internal static class BlockLayers
{
    /// <summary>qkv, proj, fc1, fc2: the layers whose inputs can be quantized.</summary>
    public static LinearWeight[] ThatReadTokens(BlockWeights block) => [block.Qkv, block.Projection, block.Fc1, block.Fc2];

    /// <summary>adaLN, then those that read tokens.</summary>
    public static LinearWeight[] Of(BlockWeights block) => [block.Modulation, .. ThatReadTokens(block)];
}
