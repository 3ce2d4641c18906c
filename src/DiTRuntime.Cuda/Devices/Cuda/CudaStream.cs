using System.Diagnostics.CodeAnalysis;
using DiTRuntime.Cuda.Interop;

namespace DiTRuntime.Cuda.Devices;

/// <summary>A stream of the CUDA driver.</summary>
/// <param name="handle">The driver's own.</param>
/// <param name="synchronous">Whether every launch is waited for.</param>
[SuppressMessage("Naming", "CA1711", Justification = "The field's word: a CUDA stream.")]
internal sealed unsafe class CudaStream(StreamHandle handle, bool synchronous) : GpuStream
{
    // Modules whose kernels a capture has launched; null outside of one.
    private HashSet<CubinHandle>? _captured;
    private string? _lastKernel;

    /// <summary>CUstream.</summary>
    public nint Value => handle.Value;

    private DriverApi Api => handle.Context.Api;

    public override void Launch(GpuKernel kernel, in LaunchShape shape, ReadOnlySpan<byte> arguments)
    {
        var target = Own<CudaKernel>(kernel);
        var module = target.Module;
        target.CheckArguments(arguments.Length);
        Enter();
        var function = target.Prepare(shape.SharedBytes);
        fixed (byte* p = arguments)
        {
            void* only = p;
            Api.cuLaunchKernel(
                function, (uint)shape.GridX, (uint)shape.GridY, (uint)shape.GridZ, (uint)shape.Threads, 1, 1, (uint)shape.SharedBytes, Value, &only, null)
                .ThrowIfFailed(Api, "cuLaunchKernel", target.Name);
        }

        _lastKernel = target.Name;
        if (_captured is not null) _captured.Add(module);
        else if (synchronous) Api.cuStreamSynchronize(Value).ThrowIfFailed(Api, "cuStreamSynchronize", target.Name);
        GC.KeepAlive(target);
        GC.KeepAlive(this);
    }

    public override void CopyToDevice(PinnedBuffer source, long sourceOffset, DevicePointer destination, long byteCount)
    {
        var from = Own<CudaPinnedBuffer>(source);
        Enter();
        Api.cuMemcpyHtoDAsync_v2(destination.Address, from.Range(sourceOffset, byteCount), (nuint)byteCount, Value).ThrowIfFailed(Api, "cuMemcpyHtoDAsync_v2");
        Leave(from);
    }

    public override void CopyToHost(DevicePointer source, PinnedBuffer destination, long destinationOffset, long byteCount)
    {
        var to = Own<CudaPinnedBuffer>(destination);
        Enter();
        Api.cuMemcpyDtoHAsync_v2(to.Range(destinationOffset, byteCount), source.Address, (nuint)byteCount, Value).ThrowIfFailed(Api, "cuMemcpyDtoHAsync_v2");
        Leave(to);
    }

    public override void Copy(DevicePointer source, DevicePointer destination, long byteCount)
    {
        Enter();
        Api.cuMemcpyDtoDAsync_v2(destination.Address, source.Address, checked((nuint)byteCount), Value).ThrowIfFailed(Api, "cuMemcpyDtoDAsync_v2");
        Leave(this);
    }

    public override void Fill(DevicePointer destination, byte value, long byteCount)
    {
        Enter();
        Api.cuMemsetD8Async(destination.Address, value, checked((nuint)byteCount), Value).ThrowIfFailed(Api, "cuMemsetD8Async");
        Leave(this);
    }

    public override void Record(GpuEvent mark)
    {
        var own = Own<CudaEvent>(mark);
        Enter();
        Api.cuEventRecord(own.Value, Value).ThrowIfFailed(Api, "cuEventRecord");
        Leave(own);
    }

    public override void Wait(GpuEvent mark)
    {
        var own = Own<CudaEvent>(mark);
        Enter();
        Api.cuStreamWaitEvent(Value, own.Value, 0).ThrowIfFailed(Api, "cuStreamWaitEvent");
        Leave(own);
    }

    public override GpuGraph Capture(Action body)
    {
        if (_captured is not null) throw new InvalidOperationException("a capture runs already in this stream");
        Enter();
        Api.cuStreamBeginCapture_v2(Value, StreamFlag.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).ThrowIfFailed(Api, "cuStreamBeginCapture_v2");
        nint graph = 0;
        var modules = _captured = [];
        try
        {
            DriverStatus ended;
            try
            {
                body();
            }
            finally
            {
                _captured = null;
                ended = Api.cuStreamEndCapture(Value, &graph);
            }

            ended.ThrowIfFailed(Api, "cuStreamEndCapture");
            return Instantiate(graph, [.. modules]);
        }
        finally
        {
            if (graph != 0) Api.cuGraphDestroy(graph);
            Leave(this);
        }
    }

    public override void Launch(GpuGraph graph)
    {
        var own = Own<CudaGraph>(graph);
        Enter();
        Api.cuGraphLaunch(own.Value, Value).ThrowIfFailed(Api, "cuGraphLaunch");
        if (synchronous) Synchronize();
        Leave(own);
    }

    public override void Synchronize()
    {
        Enter();
        var status = Api.cuStreamSynchronize(Value);
        if (!status.Succeeded) status.ThrowIfFailed(Api, "cuStreamSynchronize", _lastKernel is null ? null : $"last launched {_lastKernel}; DIT_SYNC=1 names the kernel that failed");
        Leave(this);
    }

    /// <summary>An object of this device's, not of another's.</summary>
    public static T Own<T>(object other)
        where T : class =>
        other as T ?? throw new ArgumentException($"{other.GetType().Name} belongs to another kind of device than {typeof(T).Name}");

    protected override void Dispose(bool disposing) => handle.Dispose();

    private CudaGraph Instantiate(nint graph, CubinHandle[] modules)
    {
        nuint nodeCount;
        Api.cuGraphGetNodes(graph, null, &nodeCount).ThrowIfFailed(Api, "cuGraphGetNodes");
        nint executable;
        Api.cuGraphInstantiateWithFlags(&executable, graph, 0).ThrowIfFailed(Api, "cuGraphInstantiateWithFlags");
        return new CudaGraph(new GraphHandle(handle.Context, executable, modules), (int)nodeCount);
    }

    private void Enter()
    {
        ObjectDisposedException.ThrowIf(handle.IsClosed, this);
        handle.Context.MakeCurrent();
    }

    // The driver works with the raw values: their owners must not be finalized meanwhile.
    private void Leave(object other)
    {
        GC.KeepAlive(other);
        GC.KeepAlive(this);
    }
}
