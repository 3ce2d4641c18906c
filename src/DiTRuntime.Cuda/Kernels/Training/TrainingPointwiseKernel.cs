using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>What is done to single values: biases, GELU, gates.</summary>
/// <param name="library">The device's kernels.</param>
internal sealed class TrainingPointwiseKernel(KernelLibrary library)
{
    private const int Threads = 256;

    /// <summary>Launches one of the file's kernels.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="entry">Its name in training/pointwise.cu, where the formula stands.</param>
    /// <param name="arguments">Tensors and sizes.</param>
    public void Launch(GpuStream stream, string entry, in TrainingPointwiseArguments arguments) =>
        stream.Launch(library.Get(new KernelSpec("training/pointwise.cu", entry)), new LaunchShape(arguments.Rows, 1, 1, Threads, 0), arguments);
}
