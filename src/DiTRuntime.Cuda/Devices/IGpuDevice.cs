namespace DiTRuntime.Cuda.Devices;

/// <summary>
/// What the engine asks of a device: memory, modules, streams. Three implementations: the CUDA driver, the emulated device, and a recorder
/// that wraps another device and writes down what is launched.
/// </summary>
/// <remarks>
/// Everything a device hands out is disposed before the device itself, in any order among itself; disposing twice is harmless, use after disposal
/// throws <see cref="ObjectDisposedException"/>. Every status of the driver is checked: a failure is a <see cref="GpuException"/>.
/// </remarks>
public interface IGpuDevice : IDisposable
{
    /// <summary>What it is and what it can do.</summary>
    GpuProperties Properties { get; }

    /// <summary>Whether its memory holds anything; a device that plans a run needs no data.</summary>
    bool HoldsData => true;

    /// <summary>The device's memory as it stands now.</summary>
    GpuMemory Memory { get; }

    /// <summary>Reserves device memory, aligned to 256 bytes; its contents are undefined (the emulator poisons them).</summary>
    /// <param name="byteCount">Bytes, more than 0.</param>
    /// <exception cref="GpuOutOfMemoryException">There is not so much left.</exception>
    GpuBuffer Allocate(long byteCount);

    /// <summary>Reserves page-locked host memory, from which copies run beside the host.</summary>
    /// <param name="byteCount">Bytes, more than 0.</param>
    PinnedBuffer AllocatePinned(long byteCount);

    /// <summary>Loads a compiled kernel.</summary>
    /// <param name="image">What the compiler for this device made.</param>
    GpuModule Load(KernelImage image);

    /// <summary>Makes a stream: work in it runs in order, beside that of other streams.</summary>
    GpuStream CreateStream();

    /// <summary>Makes a mark that can be set in one stream and waited for in another.</summary>
    GpuEvent CreateEvent();
}

/// <summary>What a device is.</summary>
/// <param name="Name">As the driver calls it: "NVIDIA H200".</param>
/// <param name="Architecture">Compute capability as one number: 80, 86, 87, 89, 90.</param>
/// <param name="MultiprocessorCount">SMs.</param>
/// <param name="SharedMemoryPerBlock">The most dynamic shared memory a block may ask for, in bytes.</param>
/// <param name="SecondLevelCacheBytes">L2.</param>
/// <param name="DriverVersion">CUDA version of the driver: 12040 for 12.4; 0 where there is none.</param>
/// <param name="IsEmulated">Whether kernels run on the host's processor.</param>
public sealed record GpuProperties(
    string Name,
    int Architecture,
    int MultiprocessorCount,
    int SharedMemoryPerBlock,
    long SecondLevelCacheBytes,
    int DriverVersion,
    bool IsEmulated);

/// <summary>A device's memory.</summary>
/// <param name="FreeBytes">Not in use by anyone.</param>
/// <param name="TotalBytes">All of it.</param>
public readonly record struct GpuMemory(long FreeBytes, long TotalBytes);
