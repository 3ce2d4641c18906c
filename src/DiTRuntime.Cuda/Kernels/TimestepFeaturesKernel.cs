using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>features[r] = [cos(t wᵢ), sin(t wᵢ)].</summary>
/// <param name="library">The device's kernels.</param>
internal sealed class TimestepFeaturesKernel(KernelLibrary library)
{
    private const int Threads = 128;
    private readonly Dictionary<int, GpuKernel> _kernels = [];

    /// <summary>Launches.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="timesteps">s32 [rows], 0 to 9,999.</param>
    /// <param name="frequencies">f32 [half], at most 1.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="half">Number of frequencies, a multiple of 4.</param>
    /// <param name="features">f16 [rows, 2·half].</param>
    public void Launch(GpuStream stream, DevicePointer timesteps, DevicePointer frequencies, int rows, int half, DevicePointer features)
    {
        if (!_kernels.TryGetValue(half, out var kernel)) _kernels.Add(half, kernel = library.Get(Spec(half)));
        var shape = new LaunchShape((rows * (half / 2) + Threads - 1) / Threads, 1, 1, Threads, 0);
        stream.Launch(kernel, shape, new TimestepFeaturesArguments { Timesteps = timesteps, Frequencies = frequencies, Features = features, Rows = rows });
    }

    /// <summary>The specialisation for a number of frequencies.</summary>
    /// <exception cref="GpuUnavailableException">A row of features is no multiple of 8 values.</exception>
    public static KernelSpec Spec(int half)
    {
        TokenWidth.Check("embedding timesteps", 2 * half);
        return new KernelSpec("embed/condition.cu", "timestep_features_kernel", ("HALF", half));
    }
}
