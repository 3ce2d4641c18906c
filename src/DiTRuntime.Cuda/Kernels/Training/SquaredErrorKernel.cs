using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>The gradient of a squared error, and its sum in parts.</summary>
/// <param name="library">The device's kernels.</param>
internal sealed class SquaredErrorKernel(KernelLibrary library)
{
    private const int Threads = 256, ValuesPerBlock = 16 * Threads;

    /// <summary>Parts of the sum: one for 4,096 values.</summary>
    public static int PartialCount(int count) => (count + ValuesPerBlock - 1) / ValuesPerBlock;

    /// <summary>Launches.</summary>
    public void Launch(GpuStream stream, in SquaredErrorArguments arguments)
    {
        var kernel = library.Get(new KernelSpec("training/squared_error.cu", "squared_error_kernel"));
        stream.Launch(kernel, new LaunchShape(PartialCount(arguments.Count), 1, 1, Threads, Threads / 32 * sizeof(float)), arguments);
    }
}
