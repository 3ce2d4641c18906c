using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Puts patches back into images: <c>unpatchify_kernel</c>.</summary>
/// <param name="library">Where the kernel comes from.</param>
internal sealed class UnpatchifyKernel(KernelLibrary library)
{
    private const int Threads = 256;
    private GpuKernel? _kernel;

    /// <summary>Writes the images.</summary>
    public void Launch(GpuStream stream, in UnpatchifyArguments arguments)
    {
        _kernel ??= library.Get(Spec());
        var blocks = (arguments.Channels * arguments.Side * arguments.Side + Threads - 1) / Threads;
        stream.Launch(_kernel, new LaunchShape(blocks, arguments.SampleCount, 1, Threads, 0), arguments);
    }

    /// <summary>The kernel; one for all models.</summary>
    public static KernelSpec Spec() => new("sampler/unpatchify.cu", "unpatchify_kernel");
}
