namespace DiTRuntime.Cuda.Devices;

/// <summary>A buffer that the recorder forgets when it is given back.</summary>
internal sealed class RecordingBuffer(GpuBuffer inner, Action forget) : GpuBuffer
{
    private bool _forgotten;

    public override DevicePointer Pointer => inner.Pointer;

    public override long ByteCount => inner.ByteCount;

    protected override void Dispose(bool disposing)
    {
        // Once: the address may be another buffer's by now.
        if (!_forgotten) forget();
        _forgotten = true;
        inner.Dispose();
    }
}

/// <summary>Page-locked memory with a number.</summary>
internal sealed class RecordingPinnedBuffer(PinnedBuffer inner, int number) : PinnedBuffer
{
    public PinnedBuffer Inner => inner;

    public int Number => number;

    public override Span<byte> Bytes => inner.Bytes;

    protected override void Dispose(bool disposing) => inner.Dispose();
}

/// <summary>An event with a number.</summary>
internal sealed class RecordingEvent(GpuEvent inner, int number) : GpuEvent
{
    public GpuEvent Inner => inner;

    public int Number => number;

    public override void Synchronize() => inner.Synchronize();

    public override float MillisecondsSince(GpuEvent start) => inner.MillisecondsSince(((RecordingEvent)start).Inner);

    protected override void Dispose(bool disposing) => inner.Dispose();
}

/// <summary>A module with its title.</summary>
internal sealed class RecordingModule(GpuModule inner, string title) : GpuModule
{
    public override GpuKernel Kernel(string entry) => new RecordingKernel(inner.Kernel(entry), title);

    protected override void Dispose(bool disposing) => inner.Dispose();
}

/// <summary>A kernel with its module's title.</summary>
internal sealed class RecordingKernel(GpuKernel inner, string module) : GpuKernel
{
    public GpuKernel Inner => inner;

    public string Module => module;

    public override string Name => inner.Name;

    public override KernelResources Resources => inner.Resources;

    public override int Occupancy(int threads, int sharedBytes) => inner.Occupancy(threads, sharedBytes);
}

/// <summary>A graph with a number.</summary>
internal sealed class RecordingGraph(GpuGraph inner, int number) : GpuGraph
{
    public GpuGraph Inner => inner;

    public int Number => number;

    public override int NodeCount => inner.NodeCount;

    protected override void Dispose(bool disposing) => inner.Dispose();
}
