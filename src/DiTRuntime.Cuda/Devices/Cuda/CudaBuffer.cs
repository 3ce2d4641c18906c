using DiTRuntime.Cuda.Interop;

namespace DiTRuntime.Cuda.Devices;

/// <summary>Device memory of the CUDA driver.</summary>
internal sealed class CudaBuffer(MemoryHandle memory, long byteCount) : GpuBuffer
{
    public override DevicePointer Pointer => new((ulong)memory.Value);

    public override long ByteCount => byteCount;

    protected override void Dispose(bool disposing) => memory.Dispose();
}

/// <summary>Page-locked host memory of the CUDA driver.</summary>
internal sealed unsafe class CudaPinnedBuffer(PinnedHandle memory, int byteCount) : PinnedBuffer
{
    public override Span<byte> Bytes => new((void*)memory.Value, byteCount);

    /// <summary>Where some of its bytes lie.</summary>
    /// <exception cref="ArgumentOutOfRangeException">They are not all inside.</exception>
    public byte* Range(long offset, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, byteCount - offset);
        return (byte*)memory.Value + offset;
    }

    protected override void Dispose(bool disposing) => memory.Dispose();
}

/// <summary>An event of the CUDA driver.</summary>
internal sealed unsafe class CudaEvent(EventHandle handle) : GpuEvent
{
    public nint Value => handle.Value;

    public override void Synchronize()
    {
        var api = handle.Context.Api;
        handle.Context.MakeCurrent();
        api.cuEventSynchronize(Value).ThrowIfFailed(api, "cuEventSynchronize");
        GC.KeepAlive(this);
    }

    public override float MillisecondsSince(GpuEvent start)
    {
        var first = CudaStream.Own<CudaEvent>(start);
        var api = handle.Context.Api;
        handle.Context.MakeCurrent();
        float milliseconds;
        api.cuEventElapsedTime(&milliseconds, first.Value, Value).ThrowIfFailed(api, "cuEventElapsedTime");
        GC.KeepAlive(first);
        GC.KeepAlive(this);
        return milliseconds;
    }

    protected override void Dispose(bool disposing) => handle.Dispose();
}

/// <summary>A graph of the CUDA driver, ready to be launched.</summary>
internal sealed class CudaGraph(GraphHandle handle, int nodeCount) : GpuGraph
{
    public nint Value => handle.Value;

    public override int NodeCount => nodeCount;

    protected override void Dispose(bool disposing) => handle.Dispose();
}
