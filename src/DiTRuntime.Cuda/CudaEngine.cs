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
    public static CudaBackend OpenGpu(CudaOptions? options = null, KernelCache? cache = null, int ordinal = 0) =>
        Open(options, owned => Gpu(owned, cache, ordinal));

    /// <summary>On the emulated device: the same kernels on the host's processor, for machines without a GPU. Slow.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="cache">Compiled kernels; the user's own cache where null.</param>
    /// <param name="device">Settings of the device.</param>
    /// <exception cref="GpuUnavailableException">There is no C++ compiler here.</exception>
    public static CudaBackend OpenEmulated(CudaOptions? options = null, KernelCache? cache = null, EmulatedDeviceOptions? device = null) =>
        Open(options, owned => Emulated(owned, cache, device));

    /// <summary>A GPU and its compiler.</summary>
    /// <param name="owned">Takes what is opened.</param>
    /// <param name="cache">Compiled kernels; the user's own cache where null.</param>
    /// <param name="ordinal">Which GPU.</param>
    internal static (IGpuDevice Device, IKernelCompiler Compiler) Gpu(ResourceList owned, KernelCache? cache, int ordinal)
    {
        var device = owned.Add(CudaDevice.Open(ordinal));
        var compiler = new NvrtcCompiler(owned.Add(NvrtcLibrary.Load()), new TargetArchitecture(device.Properties.Architecture));
        return (device, new CachingCompiler(compiler, cache ?? new KernelCache()));
    }

    /// <summary>The emulated device and its compiler.</summary>
    /// <param name="owned">Takes what is opened.</param>
    /// <param name="cache">Compiled kernels; the user's own cache where null.</param>
    /// <param name="options">Settings of the device.</param>
    internal static (IGpuDevice Device, IKernelCompiler Compiler) Emulated(ResourceList owned, KernelCache? cache = null, EmulatedDeviceOptions? options = null)
    {
        var compiler = new CachingCompiler(new HostCompiler(), cache ?? new KernelCache());
        return (owned.Add(new EmulatedDevice(compiler, options)), compiler);
    }

    private static CudaBackend Open(CudaOptions? options, Func<ResourceList, (IGpuDevice Device, IKernelCompiler Compiler)> parts) => ResourceList.Open(owned =>
    {
        var (device, compiler) = parts(owned);
        return new CudaBackend(device, compiler, options, owned);
    });
}
