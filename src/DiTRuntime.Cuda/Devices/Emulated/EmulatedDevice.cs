using DiTRuntime.Cuda.Compilation;

namespace DiTRuntime.Cuda.Devices.Emulated;

/// <summary>How the emulated device behaves.</summary>
public sealed record EmulatedDeviceOptions
{
    /// <summary>Device memory there is, in bytes.</summary>
    public long MemoryBytes { get; init; } = 16L << 30;

    /// <summary>Orders threads and warps; one seed, one order. A correct kernel gives the same results under every seed.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Host threads that run blocks, at least 1; results do not depend on it.</summary>
    public int ThreadCount { get; init; } = Math.Min(Environment.ProcessorCount, 16);

    /// <summary>Whether races, unwritten bytes and unfinished copies in shared memory are looked for. Bounds always are.</summary>
    public bool SharedMemoryChecks { get; init; } = true;
}

/// <summary>A device on the host's processor: threads of a block are fibers, every access is checked. See docs/emulator.md.</summary>
/// <remarks>Work runs when it is put into a stream, so streams and events order nothing that is not ordered already; a faulting kernel throws at its launch.</remarks>
public sealed class EmulatedDevice : IGpuDevice
{
    private readonly EmulatedRuntime _runtime;
    private readonly EmulatedDeviceHandle _handle;
    private readonly EmulatedDeviceOptions _options;
    private ulong _launchCount;
    private long _allocatedBytes;

    /// <param name="compiler">Compiles the emulator's runtime: a <see cref="HostCompiler"/>, or a cache of one.</param>
    /// <param name="options">How it behaves.</param>
    /// <exception cref="GpuUnavailableException">There is no C++ compiler here.</exception>
    public EmulatedDevice(IKernelCompiler compiler, EmulatedDeviceOptions? options = null)
    {
        _options = options ?? new EmulatedDeviceOptions();
        _runtime = EmulatedRuntime.Get(compiler);
        _handle = _runtime.CreateDevice(Math.Max(1, _options.ThreadCount));
    }

    /// <summary>What every emulated device is; the same on every machine, so that what is chosen by it is too.</summary>
    public static GpuProperties Model { get; } = new("emulated device", 90, 16, 227 << 10, 0, 0, IsEmulated: true);

    /// <inheritdoc/>
    public GpuProperties Properties => Model;

    /// <summary>Bytes of buffers that are not disposed.</summary>
    public long AllocatedBytes => Interlocked.Read(ref _allocatedBytes);

    /// <inheritdoc/>
    public GpuMemory Memory => new(_options.MemoryBytes - AllocatedBytes, _options.MemoryBytes);

    internal EmulatedRuntime Runtime => _runtime;

    internal bool IsDisposed => _handle.IsClosed;

    /// <inheritdoc/>
    public GpuBuffer Allocate(long byteCount)
    {
        ThrowIfDisposed();
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(byteCount);
        if (Interlocked.Add(ref _allocatedBytes, byteCount) <= _options.MemoryBytes && _runtime.Allocate(_handle, byteCount) is var address && address != 0)
            return new EmulatedBuffer(this, address, byteCount);
        Interlocked.Add(ref _allocatedBytes, -byteCount);
        throw new GpuOutOfMemoryException($"the emulated device cannot give {byteCount} bytes: {Memory.FreeBytes} of {Memory.TotalBytes} are free");
    }

    /// <inheritdoc/>
    public PinnedBuffer AllocatePinned(long byteCount)
    {
        ThrowIfDisposed();
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(byteCount);
        return new EmulatedPinnedBuffer(byteCount);
    }

    /// <inheritdoc/>
    public GpuModule Load(KernelImage image)
    {
        ThrowIfDisposed();
        return new EmulatedModule(_runtime, image);
    }

    /// <inheritdoc/>
    public GpuStream CreateStream()
    {
        ThrowIfDisposed();
        return new EmulatedStream(this);
    }

    /// <inheritdoc/>
    public GpuEvent CreateEvent()
    {
        ThrowIfDisposed();
        return new EmulatedEvent();
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();

    internal void Release(ulong address, long byteCount)
    {
        if (!IsDisposed) _runtime.Release(_handle, address);
        Interlocked.Add(ref _allocatedBytes, -byteCount);
    }

    internal void Launch(EmulatedKernel kernel, in LaunchShape shape, ReadOnlySpan<byte> arguments)
    {
        ThrowIfDisposed();
        ObjectDisposedException.ThrowIf(kernel.Module.IsClosed, kernel);
        var seed = _options.Seed * 0x9E3779B97F4A7C15 + Interlocked.Increment(ref _launchCount);
        _runtime.Launch(_handle, kernel, shape, arguments, seed, _options.SharedMemoryChecks);
    }

    /// <summary>Where so many bytes lie, all of them inside one buffer.</summary>
    internal unsafe byte* Bytes(DevicePointer pointer, long byteCount, string what)
    {
        ThrowIfDisposed();
        ArgumentOutOfRangeException.ThrowIfNegative(byteCount);
        if (byteCount > 0) _runtime.RequireBuffer(_handle, pointer, byteCount, what);
        return (byte*)pointer.Address;
    }

    private void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(IsDisposed, this);
}
