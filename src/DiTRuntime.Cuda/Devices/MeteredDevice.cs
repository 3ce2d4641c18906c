using System.Globalization;

namespace DiTRuntime.Cuda.Devices;

/// <summary>Counts the memory that is taken from another device, and refuses what goes over a limit before the device is asked.</summary>
/// <param name="inner">The device; stays the caller's.</param>
/// <param name="limitBytes">The most that may be held at once, or null.</param>
public sealed class MeteredDevice(IGpuDevice inner, long? limitBytes = null) : IGpuDevice
{
    private readonly Lock _lock = new();

    /// <summary>Bytes held now.</summary>
    public long UsedBytes { get; private set; }

    /// <summary>The most that was held at once.</summary>
    public long PeakBytes { get; private set; }

    /// <inheritdoc/>
    public GpuProperties Properties => inner.Properties;

    /// <inheritdoc/>
    public bool HoldsData => inner.HoldsData;

    /// <inheritdoc/>
    public GpuMemory Memory => inner.Memory;

    /// <inheritdoc/>
    public GpuBuffer Allocate(long byteCount)
    {
        Take(byteCount);
        try
        {
            return new MeteredBuffer(this, inner.Allocate(byteCount));
        }
        catch
        {
            GiveBack(byteCount);
            throw;
        }
    }

    /// <inheritdoc/>
    public PinnedBuffer AllocatePinned(long byteCount) => inner.AllocatePinned(byteCount);

    /// <inheritdoc/>
    public GpuModule Load(KernelImage image) => inner.Load(image);

    /// <inheritdoc/>
    public GpuStream CreateStream() => inner.CreateStream();

    /// <inheritdoc/>
    public GpuEvent CreateEvent() => inner.CreateEvent();

    /// <inheritdoc/>
    public void Dispose()
    {
        // The device stays the caller's.
    }

    private void Take(long byteCount)
    {
        lock (_lock)
        {
            if (UsedBytes + byteCount > limitBytes)
                throw new GpuOutOfMemoryException(string.Create(CultureInfo.InvariantCulture,
                    $"{byteCount:N0} bytes more than the {UsedBytes:N0} in use go over the limit of {limitBytes:N0}; a smaller --batch or a larger --max-vram helps"));
            UsedBytes += byteCount;
            PeakBytes = Math.Max(PeakBytes, UsedBytes);
        }
    }

    private void GiveBack(long byteCount)
    {
        lock (_lock) UsedBytes -= byteCount;
    }

    private sealed class MeteredBuffer(MeteredDevice device, GpuBuffer buffer) : GpuBuffer
    {
        private long _held = buffer.ByteCount;

        public override DevicePointer Pointer => buffer.Pointer;

        public override long ByteCount => buffer.ByteCount;

        protected override void Dispose(bool disposing)
        {
            if (!disposing) return;
            var held = Interlocked.Exchange(ref _held, 0);
            if (held == 0) return;
            buffer.Dispose();
            device.GiveBack(held);
        }
    }
}
