using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>Attention in fp32, and its gradient in two launches: by the queries, then by keys and values.</summary>
/// <param name="library">The device's kernels.</param>
internal sealed class TrainingAttentionKernel(KernelLibrary library)
{
    private const int RowsPerWarp = 16, Others = 32, ScorePitch = 160, MaxHeadSize = 128;

    /// <summary>Bytes that a gradient's launches pass on.</summary>
    /// <param name="sampleCount">B.</param>
    /// <param name="headCount">Heads.</param>
    /// <param name="tokenCount">T.</param>
    public static long StatisticsBytes(int sampleCount, int headCount, int tokenCount) => 4L * sizeof(float) * sampleCount * headCount * tokenCount;

    /// <summary>softmax(q kᵀ/√D) v.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="arguments">Tensors; the scale is filled in.</param>
    /// <param name="sampleCount">B.</param>
    /// <param name="headSize">D, a multiple of 4 up to 128.</param>
    /// <exception cref="GpuUnavailableException">No kernel takes heads of this size.</exception>
    public void LaunchForward(GpuStream stream, TrainingAttentionArguments arguments, int sampleCount, int headSize) =>
        Launch(stream, "training/attention.cu", "training_attention_kernel", arguments, sampleCount, headSize, ownTiles: 1);

    /// <summary>∂q, then ∂k and ∂v.</summary>
    /// <inheritdoc cref="LaunchForward"/>
    public void LaunchGradient(GpuStream stream, TrainingAttentionArguments arguments, int sampleCount, int headSize)
    {
        const string File = "training/attention_gradient.cu";
        Launch(stream, File, "attention_query_gradient_kernel", arguments, sampleCount, headSize, ownTiles: 2);
        Launch(stream, File, "attention_key_gradient_kernel", arguments, sampleCount, headSize, ownTiles: 2);
    }

    private void Launch(GpuStream stream, string file, string entry, TrainingAttentionArguments arguments, int sampleCount, int headSize, int ownTiles)
    {
        TrainingWidth.Check("training attention", headSize, MaxHeadSize);
        // Long heads: half the rows, so that the tiles fit in the 99 KB of a consumer's GPU.
        var warps = headSize <= 80 ? 4 : 2;
        var own = RowsPerWarp * warps;
        var pitch = 16 * (headSize / 4 | 1);
        arguments.Scale = 1 / MathF.Sqrt(headSize);
        var shape = new LaunchShape(
            (arguments.Tokens + own - 1) / own, sampleCount * arguments.Heads, 1, 32 * warps, pitch * (ownTiles * own + 2 * Others) + own * ScorePitch);
        stream.Launch(library.Get(new KernelSpec(file, entry, ("HEAD", headSize), ("WARPS", warps))), shape, arguments);
    }
}
