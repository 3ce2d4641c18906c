using System.Diagnostics;
using System.Runtime.InteropServices;

namespace DiTRuntime.Cuda.Devices.Emulated;

/// <summary>Runs everything at once, on the caller's time; while capturing, notes it down instead.</summary>
internal sealed unsafe class EmulatedStream(EmulatedDevice device) : GpuStream
{
    private List<Action>? _recording;
    private bool _disposed;

    public override void Launch(GpuKernel kernel, in LaunchShape shape, ReadOnlySpan<byte> arguments)
    {
        ThrowIfDisposed();
        var own = (EmulatedKernel)kernel;
        if (_recording is null)
        {
            device.Launch(own, shape, arguments);
            return;
        }

        var (copiedShape, copiedArguments) = (shape, arguments.ToArray());
        _recording.Add(() => device.Launch(own, copiedShape, copiedArguments));
    }

    public override void CopyToDevice(PinnedBuffer source, long sourceOffset, DevicePointer destination, long byteCount) => Do(() =>
    {
        var bytes = source.Bytes.Slice(checked((int)sourceOffset), checked((int)byteCount));
        bytes.CopyTo(new Span<byte>(device.Bytes(destination, byteCount, "a copy to the device"), bytes.Length));
    });

    public override void CopyToHost(DevicePointer source, PinnedBuffer destination, long destinationOffset, long byteCount) => Do(() =>
    {
        var bytes = destination.Bytes.Slice(checked((int)destinationOffset), checked((int)byteCount));
        new Span<byte>(device.Bytes(source, byteCount, "a copy to the host"), bytes.Length).CopyTo(bytes);
    });

    public override void Copy(DevicePointer source, DevicePointer destination, long byteCount) => Do(() =>
        NativeMemory.Copy(device.Bytes(source, byteCount, "a copy from the device"), device.Bytes(destination, byteCount, "a copy to the device"), (nuint)byteCount));

    public override void Fill(DevicePointer destination, byte value, long byteCount) =>
        Do(() => NativeMemory.Fill(device.Bytes(destination, byteCount, "a fill"), (nuint)byteCount, value));

    public override void Record(GpuEvent mark)
    {
        ThrowIfDisposed();
        ((EmulatedEvent)mark).Set();
    }

    public override void Wait(GpuEvent mark)
    {
        ThrowIfDisposed();
        mark.Synchronize();
    }

    public override GpuGraph Capture(Action body)
    {
        ThrowIfDisposed();
        if (_recording is not null) throw new GpuException("a graph is being captured from this stream already");
        var recording = _recording = [];
        try
        {
            body();
        }
        finally
        {
            _recording = null;
        }

        return new EmulatedGraph(recording);
    }

    public override void Launch(GpuGraph graph)
    {
        ThrowIfDisposed();
        if (_recording is not null) throw new GpuException("a graph cannot be recorded into another");
        ((EmulatedGraph)graph).Replay();
    }

    public override void Synchronize()
    {
        ThrowIfDisposed();
        if (_recording is not null) throw new GpuException("a stream cannot be waited for while a graph is captured from it");
    }

    protected override void Dispose(bool disposing) => _disposed = true;

    private void Do(Action work)
    {
        ThrowIfDisposed();
        if (_recording is null)
            work();
        else
            _recording.Add(work);
    }

    private void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(_disposed || device.IsDisposed, this);
}

/// <summary>A moment.</summary>
internal sealed class EmulatedEvent : GpuEvent
{
    private long _ticks;
    private bool _disposed;

    public void Set()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        _ticks = Stopwatch.GetTimestamp();
    }

    public override void Synchronize() => ObjectDisposedException.ThrowIf(_disposed, this);

    public override float MillisecondsSince(GpuEvent start)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        var earlier = (EmulatedEvent)start;
        ObjectDisposedException.ThrowIf(earlier._disposed, start);
        if (_ticks == 0 || earlier._ticks == 0) throw new GpuException("the time between two events is known only when both were recorded");
        return (float)Stopwatch.GetElapsedTime(earlier._ticks, _ticks).TotalMilliseconds;
    }

    protected override void Dispose(bool disposing) => _disposed = true;
}

/// <summary>Launches, copies and fills, with their arguments.</summary>
internal sealed class EmulatedGraph(List<Action> nodes) : GpuGraph
{
    private bool _disposed;

    public override int NodeCount => nodes.Count;

    public void Replay()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        foreach (var node in nodes) node();
    }

    protected override void Dispose(bool disposing) => _disposed = true;
}
