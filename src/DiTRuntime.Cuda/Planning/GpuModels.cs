using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Planning;

/// <summary>GPUs to plan for where none is at hand.</summary>
public static class GpuModels
{
    /// <summary>The largest common GPU of an architecture: A100, RTX 3090, Jetson AGX Orin, RTX 4090, H200 (NVIDIA's data sheets; shared memory: CUDA C++ Programming Guide, table of compute capabilities).</summary>
    /// <param name="architecture">Compute capability as one number.</param>
    public static GpuProperties Typical(int architecture) => architecture switch
    {
        80 => Model("A100", architecture, 108, 163, 40),
        87 => Model("Jetson AGX Orin", architecture, 16, 163, 4),
        86 => Model("RTX 3090", architecture, 82, 99, 6),
        89 => Model("RTX 4090", architecture, 128, 99, 72),
        90 => Model("H200", architecture, 132, 227, 50),
        > 80 => Model("GPU", architecture, 132, 99, 50),
        _ => throw new GpuUnavailableException($"sm_{architecture}: the kernels need sm_80 or newer"),
    };

    private static GpuProperties Model(string name, int architecture, int multiprocessors, int sharedKilobytes, int cacheMegabytes) =>
        new(name, architecture, multiprocessors, sharedKilobytes << 10, (long)cacheMegabytes << 20, 0, IsEmulated: false);
}
