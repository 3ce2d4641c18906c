using System.Text;
using DiTRuntime.Cuda.Interop;

namespace DiTRuntime.Cuda.Devices;

/// <summary>A cubin, loaded.</summary>
/// <param name="handle">The driver's own.</param>
/// <param name="title">What was compiled, for errors.</param>
/// <param name="sharedMemoryPerBlock">The most the device gives a block.</param>
internal sealed unsafe class CudaModule(CubinHandle handle, string title, int sharedMemoryPerBlock) : GpuModule
{
    private bool _disposed;

    /// <summary>The driver's own.</summary>
    /// <exception cref="ObjectDisposedException">It is unloaded, or only a graph still keeps it.</exception>
    public CubinHandle Handle
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return handle;
        }
    }

    public override GpuKernel Kernel(string entry)
    {
        var api = Handle.Context.Api;
        handle.Context.MakeCurrent();
        nint function;
        fixed (byte* name = Encoding.UTF8.GetBytes(entry + '\0'))
            api.cuModuleGetFunction(&function, handle.Value, name).ThrowIfFailed(api, "cuModuleGetFunction", $"{entry} of {title}");
        var kernel = new CudaKernel(this, function, entry, sharedMemoryPerBlock);
        GC.KeepAlive(this);
        return kernel;
    }

    protected override void Dispose(bool disposing)
    {
        _disposed = true;
        handle.Dispose();
    }
}

/// <summary>A kernel of a cubin.</summary>
internal sealed unsafe class CudaKernel : GpuKernel
{
    // What a block may have without asking: 48 KiB on every architecture.
    private const int UnaskedSharedBytes = 48 * 1024;
    private readonly CudaModule _module;
    private readonly nint _function;
    private readonly int _mostSharedBytes;
    private readonly int _argumentBytes = -1;
    private bool _asked;

    public CudaKernel(CudaModule module, nint function, string name, int sharedMemoryPerBlock)
    {
        _module = module;
        _function = function;
        Name = name;
        var api = module.Handle.Context.Api;
        // Asking also makes the driver load the code now: it would do so at the first launch, which may be inside a capture.
        Resources = new KernelResources(
            Attribute(FunctionAttribute.CU_FUNC_ATTRIBUTE_NUM_REGS),
            Attribute(FunctionAttribute.CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES),
            Attribute(FunctionAttribute.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES));
        _mostSharedBytes = sharedMemoryPerBlock - Resources.StaticSharedBytes;
        nuint offset, size;
        if (api.HasParamInfo && api.cuFuncGetParamInfo(function, 0, &offset, &size).Succeeded) _argumentBytes = (int)size;

        int Attribute(int attribute)
        {
            int value;
            api.cuFuncGetAttribute(&value, attribute, function).ThrowIfFailed(api, "cuFuncGetAttribute", name);
            return value;
        }
    }

    public override string Name { get; }

    public override KernelResources Resources { get; }

    /// <summary>Its module's handle.</summary>
    public CubinHandle Module => _module.Handle;

    public override int Occupancy(int threads, int sharedBytes)
    {
        var api = Module.Context.Api;
        Module.Context.MakeCurrent();
        int blocks;
        api.cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, Prepare(sharedBytes), threads, (nuint)sharedBytes).ThrowIfFailed(api, "cuOccupancyMaxActiveBlocksPerMultiprocessor", Name);
        GC.KeepAlive(this);
        return blocks;
    }

    /// <summary>The driver's function, allowed to use so much shared memory.</summary>
    /// <exception cref="GpuException">A block cannot have so much.</exception>
    public nint Prepare(int sharedBytes)
    {
        if (sharedBytes > UnaskedSharedBytes) Ask(sharedBytes);
        return _function;
    }

    /// <summary>Refuses an argument struct of another size than the kernel's, where the driver tells it (CUDA 12.4).</summary>
    /// <exception cref="GpuException">The sizes differ.</exception>
    public void CheckArguments(int byteCount)
    {
        if (_argumentBytes >= 0 && byteCount != _argumentBytes)
            throw new GpuException($"{Name}: its argument struct has {_argumentBytes} bytes, the launch gives {byteCount}; the two declarations differ");
    }

    private void Ask(int sharedBytes)
    {
        if (sharedBytes > _mostSharedBytes)
            throw new GpuException($"{Name}: {sharedBytes} bytes of shared memory asked for a block, the device has {_mostSharedBytes}");
        if (_asked) return;
        var api = Module.Context.Api;
        api.cuFuncSetAttribute(_function, FunctionAttribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, _mostSharedBytes).ThrowIfFailed(api, "cuFuncSetAttribute", Name);
        _asked = true;
    }
}
