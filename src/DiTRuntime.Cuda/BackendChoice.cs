using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda;

/// <summary>Opens a backend by the name that people give it.</summary>
public static class BackendChoice
{
    /// <summary>Takes a GPU where one can be used, else the processor.</summary>
    public const string Auto = "auto";

    /// <summary>Opens a backend.</summary>
    /// <param name="name">"auto", "cpu", "cuda" or "emulated".</param>
    /// <param name="threadCount">Threads, where it is the processor; 0 means one per core.</param>
    /// <param name="options">Settings, where it is a GPU.</param>
    /// <param name="announce">Told on one line what "auto" took, and why.</param>
    /// <exception cref="GpuUnavailableException">It cannot be used here; says why.</exception>
    /// <exception cref="UsageException">There is no such backend, or it does not run so many threads.</exception>
    public static IDiTBackend Open(string name, int threadCount = 0, CudaOptions? options = null, Action<string>? announce = null) => name switch
    {
        Auto => OpenAny(threadCount, options, announce),
        "cpu" => OpenCpu(threadCount),
        "cuda" => CudaEngine.OpenGpu(options),
        "emulated" => CudaEngine.OpenEmulated(options),
        _ => throw new UsageException($"--backend {name}: expected auto, cpu, cuda or emulated"),
    };

    private static CpuBackend OpenCpu(int threadCount) => CpuBackend.Create(new CpuOptions(threadCount));

    private static IDiTBackend OpenAny(int threadCount, CudaOptions? options, Action<string>? announce)
    {
        try
        {
            var gpu = CudaEngine.OpenGpu(options);
            announce?.Invoke($"backend: {gpu.Description}");
            return gpu;
        }
        catch (GpuUnavailableException e)
        {
            var cpu = OpenCpu(threadCount);
            announce?.Invoke($"backend: {cpu.Description} (no GPU: {e.Message})");
            return cpu;
        }
    }
}
