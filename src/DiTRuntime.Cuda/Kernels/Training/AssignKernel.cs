using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>The nearest codeword of every point.</summary>
/// <param name="library">The device's kernels.</param>
internal sealed class AssignKernel(KernelLibrary library)
{
    private const int Threads = 256, PointsPerBlock = 4 * Threads, TileCodewords = 1024;

    /// <summary>Launches.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="arguments">Points, codewords, and weights or null.</param>
    /// <param name="length">d, 2 to 8.</param>
    public void Launch(GpuStream stream, in AssignArguments arguments, int length)
    {
        var kernel = library.Get(Spec(length, isWeighted: arguments.Weights != DevicePointer.Null));
        var padded = length == 2 ? 2 : (length + 3) / 4 * 4;
        var sharedBytes = Math.Min(arguments.CodewordCount, TileCodewords) * padded * sizeof(float);
        stream.Launch(kernel, new LaunchShape((arguments.PointCount + PointsPerBlock - 1) / PointsPerBlock, 1, 1, Threads, sharedBytes), arguments);
    }

    /// <summary>The specialisation for vectors of a length.</summary>
    public static KernelSpec Spec(int length, bool isWeighted) =>
        new("codebook/assign.cu", "assign_kernel", ("DIM", length), ("WEIGHTED", isWeighted ? 1 : 0));
}
