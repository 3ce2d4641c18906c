using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>Modulated layer norm in fp32, and its gradient by the tokens.</summary>
/// <param name="library">The device's kernels.</param>
internal sealed class TrainingNormKernel(KernelLibrary library)
{
    private const int Warps = 8;

    /// <summary>y = (1 + scale)·LayerNorm(x) + shift.</summary>
    public void LaunchForward(GpuStream stream, in TrainingNormArguments arguments) => Launch(stream, "training_norm_kernel", arguments);

    /// <summary>Adds to ∂x, and leaves means and reciprocal deviations for <see cref="TrainingSumsKernel"/>.</summary>
    public void LaunchGradient(GpuStream stream, in TrainingNormArguments arguments) => Launch(stream, "training_norm_gradient_kernel", arguments);

    private void Launch(GpuStream stream, string entry, in TrainingNormArguments arguments)
    {
        var kernel = library.Get(new KernelSpec("training/norm_modulate.cu", entry));
        stream.Launch(kernel, new LaunchShape((arguments.Rows + Warps - 1) / Warps, 1, 1, 32 * Warps, 0), arguments);
    }
}
