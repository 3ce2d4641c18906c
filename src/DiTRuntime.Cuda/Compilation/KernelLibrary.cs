using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Compilation;

/// <summary>The kernels of one device: compiled when first asked for, loaded, and kept.</summary>
/// <param name="device">Where they run.</param>
/// <param name="compiler">Makes them.</param>
public sealed class KernelLibrary(IGpuDevice device, IKernelCompiler compiler) : IDisposable
{
    private readonly Dictionary<KernelSpec, (GpuModule Module, GpuKernel Kernel)> _loaded = [];

    /// <summary>Where they run.</summary>
    public IGpuDevice Device { get; } = device;

    /// <summary>The specifications asked for so far.</summary>
    public IReadOnlyCollection<KernelSpec> Specs => _loaded.Keys;

    /// <summary>A kernel, compiled now if it was not before.</summary>
    public GpuKernel Get(KernelSpec spec)
    {
        if (_loaded.TryGetValue(spec, out var entry)) return entry.Kernel;
        var module = Device.Load(compiler.Compile(spec));
        try
        {
            entry = (module, module.Kernel(spec.Entry));
        }
        catch
        {
            module.Dispose();
            throw;
        }

        _loaded.Add(spec, entry);
        return entry.Kernel;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (module, _) in _loaded.Values) module.Dispose();
        _loaded.Clear();
    }
}
