using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Guidance and one step of the sampler, from a stored prediction: <c>sample_update_kernel</c>. Moves the step counter on.</summary>
/// <param name="library">Where the kernel comes from.</param>
internal sealed class SampleUpdateKernel(KernelLibrary library)
{
    private const int Threads = 256;
    private GpuKernel? _kernel;

    /// <summary>Updates the latents in place.</summary>
    public void Launch(GpuStream stream, in GuideAndUpdateArguments arguments)
    {
        _kernel ??= library.Get(Spec());
        var blocks = (arguments.Channels * arguments.PlaneSize + Threads - 1) / Threads;
        stream.Launch(_kernel, new LaunchShape(blocks, arguments.Sampler.UpdateCount, 1, Threads, 0), arguments);
    }

    /// <summary>The kernel; one for all models.</summary>
    public static KernelSpec Spec() => new("sampler/sample_update.cu", "sample_update_kernel");
}
