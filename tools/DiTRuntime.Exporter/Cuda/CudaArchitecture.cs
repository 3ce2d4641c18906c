using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Devices.Emulated;
using DiTRuntime.Cuda.Interop;
using DiTRuntime.Cuda.Planning;

namespace DiTRuntime.Exporter.Cuda;

/// <summary>What an export's kernels are compiled for: a GPU's architecture, or the emulated device.</summary>
internal sealed record CudaArchitecture
{
    /// <summary>What --arch calls the emulated device.</summary>
    public const string EmulatedName = "emulated";

    private readonly TargetArchitecture? _target;

    private CudaArchitecture(TargetArchitecture? target, GpuProperties device)
    {
        _target = target;
        Device = device;
    }

    /// <summary>A typical GPU of the architecture: tiles are chosen for it.</summary>
    public GpuProperties Device { get; }

    /// <summary>Compute capability as one number; 0 for the emulated device.</summary>
    public uint Number => (uint)(_target?.Number ?? 0);

    /// <summary>Whether the code runs on this very architecture only ("sm_90a").</summary>
    public bool IsSpecific => _target?.IsSpecific ?? false;

    /// <summary>As --arch names it.</summary>
    public string Name => _target?.Name ?? EmulatedName;

    /// <summary>Reads "sm_87", "sm_90a" or "emulated".</summary>
    /// <exception cref="UsageException">It is none of these, or older than the kernels.</exception>
    public static CudaArchitecture Parse(string text)
    {
        if (text == EmulatedName) return new CudaArchitecture(null, EmulatedDevice.Model);
        var target = TargetArchitecture.Parse(text);
        if (target.Number < CudaDeviceInfo.OldestArchitecture) throw new UsageException($"--arch {text}: the kernels need sm_{CudaDeviceInfo.OldestArchitecture} or newer");
        return new CudaArchitecture(target, GpuModels.Typical(target.Number));
    }

    /// <summary>Opens the compiler.</summary>
    /// <param name="owned">Takes what is opened.</param>
    /// <param name="cache">Kernels compiled before.</param>
    /// <exception cref="GpuUnavailableException">It is not here; says what to install.</exception>
    public IKernelCompiler OpenCompiler(ResourceList owned, KernelCache cache)
    {
        IKernelCompiler compiler = _target is { } target ? new NvrtcCompiler(owned.Add(NvrtcLibrary.Load()), target) : new HostCompiler();
        return new CachingCompiler(compiler, cache);
    }
}
