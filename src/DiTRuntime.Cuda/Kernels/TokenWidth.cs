using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>What the kernels that work on rows of tokens ask of a row.</summary>
internal static class TokenWidth
{
    /// <summary>Refuses a row that is no whole number of 16-byte units, or too long for a warp's registers.</summary>
    /// <param name="operation">For the message.</param>
    /// <param name="width">Values of a row.</param>
    /// <param name="limit">The most it may have.</param>
    public static void Check(string operation, int width, int limit = int.MaxValue)
    {
        if (width <= 0 || width % 8 != 0) throw new GpuUnavailableException($"{operation} on the GPU asks for rows of a multiple of 8 values, not {width}; use --backend cpu");
        if (width > limit) throw new GpuUnavailableException($"{operation} on the GPU asks for rows of at most {limit} values, not {width}; use --backend cpu");
    }

    /// <summary>Refuses groups that are no multiple of 4.</summary>
    public static void Check(ActivationLayout layout)
    {
        if (layout.Grid.Size % 4 != 0)
            throw new GpuUnavailableException($"the GPU's kernels quantize activations in groups of a multiple of 4 values, not {layout.Grid.Size}; use --backend cpu");
    }
}
