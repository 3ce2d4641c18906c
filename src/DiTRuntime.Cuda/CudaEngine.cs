using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Devices.Emulated;
using DiTRuntime.Cuda.Interop;

namespace DiTRuntime.Cuda;

/// <summary>Opens the CUDA backend with everything below it: device, compiler, cache of compiled kernels.</summary>
public static class CudaEngine
{
    /// <summary>On a GPU.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="cache">Compiled kernels; the user's own cache where null.</param>
    /// <param name="ordinal">Which GPU.</param>
    /// <exception cref="GpuUnavailableException">No driver, GPU or NVRTC that can be used; says which.</exception>
    public static CudaBackend OpenGpu(CudaOptions? options = null, KernelCache? cache = null, int ordinal = 0) => Open(options, owned =>
    {
        var device = owned.Add(CudaDevice.Open(ordinal));
        var library = owned.Add(NvrtcLibrary.Load());
        var compiler = new NvrtcCompiler(library, new TargetArchitecture(device.Properties.Architecture));
        return (device, new CachingCompiler(compiler, cache ?? new KernelCache()));
    });

    /// <summary>On the emulated device: the same kernels on the host's processor, for machines without a GPU. Slow.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="cache">Compiled kernels; the user's own cache where null.</param>
    /// <param name="device">Settings of the device.</param>
    /// <exception cref="GpuUnavailableException">There is no C++ compiler here.</exception>
    public static CudaBackend OpenEmulated(CudaOptions? options = null, KernelCache? cache = null, EmulatedDeviceOptions? device = null) => Open(options, owned =>
    {
        var compiler = new CachingCompiler(new HostCompiler(), cache ?? new KernelCache());
        return (owned.Add(new EmulatedDevice(compiler, device)), compiler);
    });

    private static CudaBackend Open(CudaOptions? options, Func<ResourceList, (IGpuDevice Device, IKernelCompiler Compiler)> parts)
    {
        var owned = new ResourceList();
        try
        {
            var (device, compiler) = parts(owned);
            return new CudaBackend(device, compiler, options, owned);
        }
        catch
        {
            owned.Dispose();
            throw;
        }
    }
}
