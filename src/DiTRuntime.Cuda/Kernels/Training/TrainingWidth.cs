using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>What training on the GPU asks of a row.</summary>
internal static class TrainingWidth
{
    /// <summary>Refuses a row that is no whole number of 16-byte units, or too long.</summary>
    /// <param name="operation">For the message.</param>
    /// <param name="width">Values of a row.</param>
    /// <param name="limit">The most it may have.</param>
    public static void Check(string operation, int width, int limit = int.MaxValue)
    {
        if (width % 4 != 0 || width > limit)
            throw new GpuUnavailableException($"{operation} on the GPU asks for rows of a multiple of 4 values{(limit == int.MaxValue ? "" : $", at most {limit}")}, not {width}; use --backend cpu");
    }
}
