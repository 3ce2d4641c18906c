namespace DiTRuntime.Cuda.Devices;

/// <summary>
/// A device that runs nothing: what a program would allocate and launch on it is what it would on a real one, so a run can be planned by
/// carrying it out here.
/// </summary>
/// <param name="properties">The device it stands for.</param>
/// <param name="holdsData">Whether its memory keeps what is copied into it, for an export; of what only kernels write it keeps nothing.</param>
public sealed class PlanningDevice(GpuProperties properties, bool holdsData = false) : IGpuDevice
{
    /// <summary>Far above what a null pointer with an offset could reach.</summary>
    private const ulong FirstAddress = 1UL << 40;

    private readonly List<Buffer> _buffers = [];
    private ulong _next = FirstAddress;

    /// <inheritdoc/>
    public GpuProperties Properties { get; } = properties;

    /// <inheritdoc/>
    public bool HoldsData => holdsData;

    /// <inheritdoc/>
    public GpuMemory Memory => new(long.MaxValue, long.MaxValue);

    /// <inheritdoc/>
    public GpuBuffer Allocate(long byteCount)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(byteCount, 1);
        var buffer = new Buffer(new DevicePointer(_next), byteCount);
        _next += (ulong)((byteCount + 255) / 256 * 256);
        if (holdsData) _buffers.Add(buffer);
        return buffer;
    }

    /// <summary>What was copied into a buffer; zeros where nothing was, and empty where nothing was at all.</summary>
    /// <param name="number">Number of the buffer, in order of allocation.</param>
    public ReadOnlyMemory<byte> Contents(int number) => _buffers[number].Bytes;

    /// <inheritdoc/>
    public PinnedBuffer AllocatePinned(long byteCount) => new HostBuffer(byteCount);

    /// <inheritdoc/>
    public GpuModule Load(KernelImage image) => new Module();

    /// <inheritdoc/>
    public GpuStream CreateStream() => new Stream(this);

    /// <inheritdoc/>
    public GpuEvent CreateEvent() => new Event();

    /// <inheritdoc/>
    public void Dispose()
    {
        // Nothing is held.
    }

    /// <summary>A buffer's bytes from an address on; empty where nothing was copied into it, unless they are to be written.</summary>
    private Span<byte> Bytes(DevicePointer pointer, long byteCount, bool writes)
    {
        if (!holdsData) return default;
        var (from, to) = (0, _buffers.Count);
        while (to - from > 1)
        {
            var middle = (from + to) / 2;
            if (_buffers[middle].Pointer.Address <= pointer.Address) from = middle;
            else to = middle;
        }

        var buffer = _buffers[from];
        var bytes = writes ? buffer.Write() : buffer.Bytes;
        return bytes is null ? default : bytes.AsSpan(checked((int)(pointer.Address - buffer.Pointer.Address)), checked((int)byteCount));
    }

    private sealed class Buffer(DevicePointer pointer, long byteCount) : GpuBuffer
    {
        /// <summary>Null until something is copied into it: memory that only kernels write takes none here.</summary>
        public byte[]? Bytes { get; private set; }

        public byte[] Write() => Bytes ??= new byte[byteCount];

        public override DevicePointer Pointer => pointer;

        public override long ByteCount => byteCount;

        protected override void Dispose(bool disposing)
        {
        }
    }

    private sealed class HostBuffer(long byteCount) : PinnedBuffer
    {
        private readonly byte[] _bytes = new byte[byteCount];

        public override Span<byte> Bytes => _bytes;

        protected override void Dispose(bool disposing)
        {
        }
    }

    private sealed class Module : GpuModule
    {
        public override GpuKernel Kernel(string entry) => new PlannedKernel(entry);

        protected override void Dispose(bool disposing)
        {
        }
    }

    private sealed class PlannedKernel(string name) : GpuKernel
    {
        public override string Name => name;

        public override KernelResources Resources => default;

        public override int Occupancy(int threads, int sharedBytes) => 1;
    }

    private sealed class Event : GpuEvent
    {
        public override void Synchronize()
        {
        }

        public override float MillisecondsSince(GpuEvent start) => 0;

        protected override void Dispose(bool disposing)
        {
        }
    }

    private sealed class Graph : GpuGraph
    {
        public override int NodeCount => 0;

        protected override void Dispose(bool disposing)
        {
        }
    }

    private sealed class Stream(PlanningDevice device) : GpuStream
    {
        public override void Launch(GpuKernel kernel, in LaunchShape shape, ReadOnlySpan<byte> arguments)
        {
        }

        public override void CopyToDevice(PinnedBuffer source, long sourceOffset, DevicePointer destination, long byteCount)
        {
            if (device.HoldsData) source.Bytes.Slice((int)sourceOffset, (int)byteCount).CopyTo(device.Bytes(destination, byteCount, writes: true));
        }

        // What kernels would have made of it is unknown.
        public override void CopyToHost(DevicePointer source, PinnedBuffer destination, long destinationOffset, long byteCount)
        {
            if (device.HoldsData) destination.Bytes.Slice((int)destinationOffset, (int)byteCount).Clear();
        }

        public override void Copy(DevicePointer source, DevicePointer destination, long byteCount)
        {
            var from = device.Bytes(source, byteCount, writes: false);
            if (!from.IsEmpty) from.CopyTo(device.Bytes(destination, byteCount, writes: true));
        }

        // Memory begins as zeros.
        public override void Fill(DevicePointer destination, byte value, long byteCount) => device.Bytes(destination, byteCount, writes: value != 0).Fill(value);

        public override void Record(GpuEvent mark)
        {
        }

        public override void Wait(GpuEvent mark)
        {
        }

        public override GpuGraph Capture(Action body)
        {
            body();
            return new Graph();
        }

        public override void Launch(GpuGraph graph)
        {
        }

        public override void Synchronize()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }
}
