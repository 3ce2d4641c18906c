using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Strides of a quantized activation tensor; mirrors <c>group_grid</c> in kernels/common/quantize.cuh.</summary>
/// <param name="Grid">The groups of a row.</param>
internal readonly record struct ActivationLayout(GroupGrid Grid)
{
    /// <summary>P: values from one group's codes to the next's.</summary>
    public int Pitch => (Grid.Size + 31) / 32 * 32;

    /// <summary>Codes of a row, padding included.</summary>
    public int CodeStride => Grid.Count * Pitch;

    /// <summary>Halves of a row's corrections.</summary>
    public int CorrectionStride => (6 * Grid.Count + 15) / 16 * 16;

    /// <summary>Where the code of value k lies in its row.</summary>
    public int CodeAt(int k) => k / Grid.Size * Pitch + k % Grid.Size;
}
