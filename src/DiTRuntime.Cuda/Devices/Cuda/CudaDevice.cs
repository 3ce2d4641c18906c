using DiTRuntime.Cuda.Interop;

namespace DiTRuntime.Cuda.Devices;

/// <summary>A GPU through the CUDA driver: its primary context, which other CUDA libraries of the process share.</summary>
/// <remarks>
/// What it hands out keeps the context. Disposing the device first is harmless: the context goes with the last of its resources. Any thread may
/// call; one resource is used by one thread at a time. With DIT_SYNC=1 every launch is waited for, so that a failing kernel is named.
/// </remarks>
public sealed class CudaDevice : IGpuDevice
{
    private readonly ContextHandle _context;
    private readonly MemoryPoolHandle? _pool;
    private readonly bool _synchronous = Environment.GetEnvironmentVariable("DIT_SYNC") == "1";
    private bool _disposed;

    private CudaDevice(CudaDriver driver, CudaDeviceInfo info)
    {
        _context = new ContextHandle(driver, info.Ordinal);
        try
        {
            var device = _context.Device;
            if (driver.Attribute(device, DeviceAttribute.CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED) != 0) _pool = MemoryPoolHandle.Create(_context);
            Properties = new GpuProperties(
                info.Name,
                info.Architecture,
                info.MultiprocessorCount,
                driver.Attribute(device, DeviceAttribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
                driver.Attribute(device, DeviceAttribute.CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE),
                driver.Version,
                IsEmulated: false);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public GpuProperties Properties { get; }

    /// <inheritdoc/>
    /// <remarks>What the pool holds and nobody uses counts as free.</remarks>
    public unsafe GpuMemory Memory
    {
        get
        {
            nuint free, total;
            Context.MakeCurrent();
            Context.Api.cuMemGetInfo_v2(&free, &total).ThrowIfFailed(Context.Api, "cuMemGetInfo_v2");
            return new GpuMemory((long)free + (_pool?.IdleBytes ?? 0), (long)total);
        }
    }

    private ContextHandle Context
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return _context;
        }
    }

    /// <summary>Opens a GPU.</summary>
    /// <param name="ordinal">Its number.</param>
    /// <param name="library">The driver's library; null searches as docs/gpu-driver.md says.</param>
    /// <exception cref="GpuUnavailableException">No driver, no such GPU, or one whose architecture the kernels do not run on.</exception>
    public static CudaDevice Open(int ordinal = 0, string? library = null)
    {
        var driver = CudaDriver.Load(library);
        var count = driver.CountDevices();
        if (ordinal < 0 || ordinal >= count) throw new GpuUnavailableException($"GPU {ordinal} is asked for; the driver sees {count}, numbered from 0");
        var info = driver.Describe(ordinal);
        if (info.Problem is { } problem) throw new GpuUnavailableException($"GPU {ordinal}: {problem}");
        return new CudaDevice(driver, info);
    }

    /// <summary>Looks at what there is, for listings.</summary>
    /// <param name="library">The driver's library; null searches.</param>
    public static CudaProbe Probe(string? library = null)
    {
        try
        {
            var driver = CudaDriver.Load(library);
            var devices = Enumerable.Range(0, driver.CountDevices()).Select(driver.Describe).ToArray();
            return new CudaProbe(devices, driver.Version, driver.File, devices.Length == 0 ? "the driver sees no GPU" : null);
        }
        catch (GpuException e)
        {
            return new CudaProbe([], 0, null, e.Message);
        }
    }

    /// <inheritdoc/>
    public GpuBuffer Allocate(long byteCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(byteCount);
        var status = MemoryHandle.TryAllocate(Context, _pool, checked((nuint)byteCount), out var memory);
        if (status.IsOutOfMemory)
        {
            var (free, total) = Memory;
            throw new GpuOutOfMemoryException(
                $"{Properties.Name}: {byteCount >> 20:N0} MiB asked for, {free >> 20:N0} of {total >> 20:N0} MiB free: {status.Describe(Context.Api)}; a smaller --batch or --max-vram needs less");
        }

        status.ThrowIfFailed(Context.Api, _pool is null ? "cuMemAlloc_v2" : "cuMemAllocFromPoolAsync", $"{byteCount} bytes");
        return new CudaBuffer(memory!, byteCount);
    }

    /// <inheritdoc/>
    public PinnedBuffer AllocatePinned(long byteCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(byteCount);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(byteCount, int.MaxValue);
        return new CudaPinnedBuffer(PinnedHandle.Allocate(Context, (nuint)byteCount), (int)byteCount);
    }

    /// <inheritdoc/>
    public GpuModule Load(KernelImage image) => new CudaModule(CubinHandle.Load(Context, image.Code, image.Title), image.Title, Properties.SharedMemoryPerBlock);

    /// <inheritdoc/>
    public GpuStream CreateStream() => new CudaStream(StreamHandle.Create(Context), _synchronous);

    /// <inheritdoc/>
    public GpuEvent CreateEvent() => new CudaEvent(EventHandle.Create(Context));

    /// <summary>Makes its context the calling thread's own, for libraries that work in it.</summary>
    internal void MakeCurrent() => Context.MakeCurrent();

    /// <inheritdoc/>
    public void Dispose()
    {
        _disposed = true;
        _pool?.Dispose();
        _context.Dispose();
    }
}
