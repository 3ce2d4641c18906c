namespace DiTRuntime.Cuda.Devices;

/// <summary>Something a device handed out.</summary>
public abstract class GpuResource : IDisposable
{
    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives it back.</summary>
    protected abstract void Dispose(bool disposing);
}

/// <summary>Device memory.</summary>
public abstract class GpuBuffer : GpuResource
{
    /// <summary>Where it begins.</summary>
    public abstract DevicePointer Pointer { get; }

    /// <summary>Its length.</summary>
    public abstract long ByteCount { get; }
}

/// <summary>Page-locked host memory.</summary>
public abstract class PinnedBuffer : GpuResource
{
    /// <summary>Its bytes.</summary>
    public abstract Span<byte> Bytes { get; }
}

/// <summary>A mark in a stream.</summary>
public abstract class GpuEvent : GpuResource
{
    /// <summary>Blocks the host until the work before the mark is done; at once where it was never set.</summary>
    public abstract void Synchronize();

    /// <summary>Milliseconds from another mark to this one; both reached.</summary>
    public abstract float MillisecondsSince(GpuEvent start);
}

/// <summary>A loaded module: kernels of one compilation.</summary>
public abstract class GpuModule : GpuResource
{
    /// <summary>Finds a kernel.</summary>
    /// <param name="entry">Its name.</param>
    public abstract GpuKernel Kernel(string entry);
}

/// <summary>A kernel that can be launched; lives as long as its module.</summary>
public abstract class GpuKernel
{
    /// <summary>Its name, for errors and listings.</summary>
    public abstract string Name { get; }

    /// <summary>What it uses, as the compiler says.</summary>
    public abstract KernelResources Resources { get; }

    /// <summary>Blocks of it that run at once on a multiprocessor.</summary>
    /// <param name="threads">Threads of a block.</param>
    /// <param name="sharedBytes">Dynamic shared memory of a block.</param>
    public abstract int Occupancy(int threads, int sharedBytes);
}

/// <summary>What a kernel uses.</summary>
/// <param name="Registers">Of a thread; 0 where the device has none to count.</param>
/// <param name="StaticSharedBytes">Shared memory beside what a launch asks for.</param>
/// <param name="LocalBytes">Stack and spills of a thread.</param>
public readonly record struct KernelResources(int Registers, int StaticSharedBytes, int LocalBytes);

/// <summary>Work recorded once, to be replayed as a whole.</summary>
public abstract class GpuGraph : GpuResource
{
    /// <summary>Kernels and copies in it.</summary>
    public abstract int NodeCount { get; }
}

/// <summary>Blocks and threads of a launch.</summary>
/// <param name="GridX">Blocks along x.</param>
/// <param name="GridY">Blocks along y, at most 65,535.</param>
/// <param name="GridZ">Blocks along z, at most 65,535.</param>
/// <param name="Threads">Threads of a block, along x.</param>
/// <param name="SharedBytes">Dynamic shared memory of a block.</param>
public readonly record struct LaunchShape(int GridX, int GridY, int GridZ, int Threads, int SharedBytes);
