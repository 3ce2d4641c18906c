using System.Runtime.InteropServices;

namespace DiTRuntime.Cuda.Interop;

/// <summary>The primary context of a device. Everything made in it keeps it, so that it goes last, whatever the order of disposal.</summary>
internal sealed unsafe class ContextHandle : SafeHandle
{
    public ContextHandle(CudaDriver driver, int ordinal)
        : base(0, ownsHandle: true)
    {
        Driver = driver;
        Device = driver.Device(ordinal);
        nint context;
        Api.cuDevicePrimaryCtxRetain(&context, Device).ThrowIfFailed(Api, "cuDevicePrimaryCtxRetain");
        SetHandle(context);
    }

    public CudaDriver Driver { get; }

    public DriverApi Api => Driver.Api;

    /// <summary>CUdevice.</summary>
    public int Device { get; }

    public override bool IsInvalid => handle == 0;

    /// <summary>Makes it the calling thread's own; cheap where it already is.</summary>
    public void MakeCurrent() => Api.cuCtxSetCurrent(handle).ThrowIfFailed(Api, "cuCtxSetCurrent");

    protected override bool ReleaseHandle()
    {
        Api.cuCtxSetCurrent(0);
        return Api.cuDevicePrimaryCtxRelease_v2(Device).Succeeded;
    }
}

/// <summary>Something the driver made in a context, and what it needs until it is gone.</summary>
internal abstract unsafe class DriverHandle : SafeHandle
{
    private readonly SafeHandle[] _needed;

    protected DriverHandle(ContextHandle context, nint value, params SafeHandle[] needed)
        : base(0, ownsHandle: true)
    {
        Context = context;
        _needed = [context, .. needed];
        foreach (var other in _needed)
        {
            var held = false;
            other.DangerousAddRef(ref held);
        }

        SetHandle(value);
    }

    public sealed override bool IsInvalid => handle == 0;

    /// <summary>The native value. Its user keeps this object alive until the native call has returned.</summary>
    /// <exception cref="ObjectDisposedException">It is given back.</exception>
    public nint Value
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return handle;
        }
    }

    public ContextHandle Context { get; }

    protected DriverApi Api => Context.Api;

    protected abstract DriverStatus Destroy();

    protected sealed override bool ReleaseHandle()
    {
        // May run on the finalizer's thread, which has no context yet and where nothing may be thrown.
        Api.cuCtxSetCurrent(Context.DangerousGetHandle());
        var status = Destroy();
        for (var i = _needed.Length - 1; i >= 0; i--) _needed[i].DangerousRelease();
        return status.Succeeded;
    }
}

internal sealed unsafe class StreamHandle(ContextHandle context, nint value) : DriverHandle(context, value)
{
    public static StreamHandle Create(ContextHandle context)
    {
        context.MakeCurrent();
        nint stream;
        // Beside the legacy stream, which would make every other one wait.
        context.Api.cuStreamCreate(&stream, StreamFlag.CU_STREAM_NON_BLOCKING).ThrowIfFailed(context.Api, "cuStreamCreate");
        return new StreamHandle(context, stream);
    }

    protected override DriverStatus Destroy() => Api.cuStreamDestroy_v2(handle);
}

internal sealed unsafe class EventHandle(ContextHandle context, nint value) : DriverHandle(context, value)
{
    public static EventHandle Create(ContextHandle context)
    {
        context.MakeCurrent();
        nint mark;
        context.Api.cuEventCreate(&mark, 0).ThrowIfFailed(context.Api, "cuEventCreate");
        return new EventHandle(context, mark);
    }

    protected override DriverStatus Destroy() => Api.cuEventDestroy_v2(handle);
}

internal sealed unsafe class CubinHandle(ContextHandle context, nint value) : DriverHandle(context, value)
{
    public static CubinHandle Load(ContextHandle context, byte[] code, string title)
    {
        context.MakeCurrent();
        nint module;
        context.Api.LoadModule(&module, code).ThrowIfFailed(context.Api, "cuModuleLoadData", title);
        return new CubinHandle(context, module);
    }

    protected override DriverStatus Destroy() => Api.cuModuleUnload(handle);
}

/// <summary>CUgraphExec; keeps the modules whose kernels it launches.</summary>
internal sealed unsafe class GraphHandle(ContextHandle context, nint value, SafeHandle[] modules) : DriverHandle(context, value, modules)
{
    protected override DriverStatus Destroy() => Api.cuGraphExecDestroy(handle);
}

internal sealed unsafe class PinnedHandle(ContextHandle context, nint value) : DriverHandle(context, value)
{
    public static PinnedHandle Allocate(ContextHandle context, nuint byteCount)
    {
        context.MakeCurrent();
        void* bytes;
        context.Api.cuMemAllocHost_v2(&bytes, byteCount).ThrowIfFailed(context.Api, "cuMemAllocHost_v2", $"{byteCount} bytes of page-locked host memory");
        return new PinnedHandle(context, (nint)bytes);
    }

    protected override DriverStatus Destroy() => Api.cuMemFreeHost((void*)handle);
}
