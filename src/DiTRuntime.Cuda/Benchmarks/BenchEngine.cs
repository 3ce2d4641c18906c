using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>What a benchmark runs on: a device, its compiler, and the vendor's product where there is one.</summary>
public sealed class BenchEngine : IDisposable
{
    private readonly ResourceList _owned;

    private BenchEngine(ResourceList owned, IGpuDevice device, IKernelCompiler compiler, IHalfProduct? product, string? problem)
    {
        _owned = owned;
        Device = device;
        Compiler = compiler;
        Product = product;
        ProductProblem = problem;
    }

    /// <summary>The device.</summary>
    public IGpuDevice Device { get; }

    /// <summary>Makes kernels for it.</summary>
    public IKernelCompiler Compiler { get; }

    /// <summary>The vendor's product, or null.</summary>
    public IHalfProduct? Product { get; }

    /// <summary>Why there is none.</summary>
    public string? ProductProblem { get; }

    /// <summary>A GPU.</summary>
    /// <param name="ordinal">Which.</param>
    /// <exception cref="GpuUnavailableException">No driver, GPU or NVRTC that can be used; says which.</exception>
    public static BenchEngine OpenGpu(int ordinal = 0) => ResourceList.Open(owned =>
    {
        var (device, compiler) = CudaEngine.Gpu(owned, cache: null, ordinal);
        try
        {
            return new BenchEngine(owned, device, compiler, owned.Add(CublasProduct.Load((CudaDevice)device)), null);
        }
        catch (GpuException e)
        {
            return new BenchEngine(owned, device, compiler, null, e.Message);
        }
    });

    /// <summary>The emulated device.</summary>
    /// <exception cref="GpuUnavailableException">There is no C++ compiler here.</exception>
    public static BenchEngine OpenEmulated() => ResourceList.Open(owned =>
    {
        var (device, compiler) = CudaEngine.Emulated(owned);
        return new BenchEngine(owned, device, compiler, null, "the emulated device has no cuBLASLt");
    });

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();
}
