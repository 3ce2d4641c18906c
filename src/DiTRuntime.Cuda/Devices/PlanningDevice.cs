namespace DiTRuntime.Cuda.Devices;

/// <summary>
/// A device without memory that runs nothing: what a program would allocate and launch on it is what it would on a real one, so a run can be planned by
/// carrying it out here.
/// </summary>
/// <param name="properties">The device it stands for.</param>
public sealed class PlanningDevice(GpuProperties properties) : IGpuDevice
{
    /// <summary>Far above what a null pointer with an offset could reach.</summary>
    private const ulong FirstAddress = 1UL << 40;

    private ulong _next = FirstAddress;

    /// <inheritdoc/>
    public GpuProperties Properties { get; } = properties;

    /// <inheritdoc/>
    public bool HoldsData => false;

    /// <inheritdoc/>
    public GpuMemory Memory => new(long.MaxValue, long.MaxValue);

    /// <inheritdoc/>
    public GpuBuffer Allocate(long byteCount)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(byteCount, 1);
        var pointer = new DevicePointer(_next);
        _next += (ulong)((byteCount + 255) / 256 * 256);
        return new Buffer(pointer, byteCount);
    }

    /// <inheritdoc/>
    public PinnedBuffer AllocatePinned(long byteCount) => new HostBuffer(byteCount);

    /// <inheritdoc/>
    public GpuModule Load(KernelImage image) => new Module();

    /// <inheritdoc/>
    public GpuStream CreateStream() => new Stream();

    /// <inheritdoc/>
    public GpuEvent CreateEvent() => new Event();

    /// <inheritdoc/>
    public void Dispose()
    {
        // Nothing is held.
    }

    private sealed class Buffer(DevicePointer pointer, long byteCount) : GpuBuffer
    {
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

    private sealed class Stream : GpuStream
    {
        public override void Launch(GpuKernel kernel, in LaunchShape shape, ReadOnlySpan<byte> arguments)
        {
        }

        public override void CopyToDevice(PinnedBuffer source, long sourceOffset, DevicePointer destination, long byteCount)
        {
        }

        public override void CopyToHost(DevicePointer source, PinnedBuffer destination, long destinationOffset, long byteCount)
        {
        }

        public override void Copy(DevicePointer source, DevicePointer destination, long byteCount)
        {
        }

        public override void Fill(DevicePointer destination, byte value, long byteCount)
        {
        }

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
