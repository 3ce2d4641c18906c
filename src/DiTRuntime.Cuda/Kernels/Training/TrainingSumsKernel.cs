using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>Gradients that are sums over rows: of biases, gates and modulations.</summary>
/// <param name="library">The device's kernels.</param>
internal sealed class TrainingSumsKernel(KernelLibrary library)
{
    private const int Warps = 16, Columns = 32;

    /// <summary>∂b = Σ ∂y.</summary>
    public void LaunchBias(GpuStream stream, in TrainingSumsArguments arguments) => Launch(stream, "bias_sums_kernel", arguments, sampleCount: 1, sums: 1);

    /// <summary>∂gate = Σ ∂·y for each sample.</summary>
    public void LaunchGate(GpuStream stream, in TrainingSumsArguments arguments, int sampleCount) => Launch(stream, "gate_sums_kernel", arguments, sampleCount, sums: 1);

    /// <summary>∂shift = Σ ∂y and ∂scale = Σ ∂y·(x − mean)/deviation for each sample.</summary>
    public void LaunchModulation(GpuStream stream, in TrainingSumsArguments arguments, int sampleCount) =>
        Launch(stream, "modulation_sums_kernel", arguments, sampleCount, sums: 2);

    private void Launch(GpuStream stream, string entry, in TrainingSumsArguments arguments, int sampleCount, int sums)
    {
        var shape = new LaunchShape((arguments.Columns + Columns - 1) / Columns, sampleCount, 1, 32 * Warps, sums * Warps * Columns * sizeof(float));
        stream.Launch(library.Get(new KernelSpec("training/sums.cu", entry)), shape, arguments);
    }
}
