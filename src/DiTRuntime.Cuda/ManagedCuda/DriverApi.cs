using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;
using ManagedCuda;
using ManagedCuda.BasicTypes;

namespace DiTRuntime.Cuda.Interop;

/// <summary>The functions of libcuda by way of ManagedCuda: takes the place of the own bindings with -p:CudaBinding=ManagedCuda.</summary>
/// <remarks>ManagedCuda finds the library itself, as libcuda.so or nvcuda.dll on the system's search path.</remarks>
[SuppressMessage("Performance", "CA1822", Justification = "Called as the function pointers of the class whose place it takes.")]
internal sealed unsafe class DriverApi
{
    [ThreadStatic]
    private static nint[]? s_parameters;
    private readonly int _version;

    /// <param name="library">Where the own search found the driver; says well what is missing before ManagedCuda looks.</param>
    public DriverApi(SharedLibrary library)
    {
        try
        {
            fixed (int* version = &_version) cuDriverGetVersion(version).ThrowIfFailed(this, "cuDriverGetVersion");
        }
        catch (DllNotFoundException e)
        {
            throw new GpuUnavailableException($"the driver is {library.File}, but ManagedCuda finds no libcuda.so (Windows: nvcuda.dll) on the system's search path", e);
        }
    }

    /// <summary>Whether the driver tells how large a kernel's argument struct is.</summary>
    public bool HasParamInfo => _version >= 12040;

    // Start, versions, errors.
    public DriverStatus cuInit(uint flags) => Status(DriverAPINativeMethods.cuInit((CUInitializationFlags)flags));
    public DriverStatus cuDriverGetVersion(int* version) => Status(DriverAPINativeMethods.cuDriverGetVersion(ref *version));
    public DriverStatus cuGetErrorName(int error, byte** text) => Status(DriverAPINativeMethods.ErrorHandling.cuGetErrorName((CUResult)error, ref *(nint*)text));
    public DriverStatus cuGetErrorString(int error, byte** text) => Status(DriverAPINativeMethods.ErrorHandling.cuGetErrorString((CUResult)error, ref *(nint*)text));

    // Devices and contexts.
    public DriverStatus cuDeviceGetCount(int* count) => Status(DriverAPINativeMethods.DeviceManagement.cuDeviceGetCount(ref *count));
    public DriverStatus cuDeviceGet(int* device, int ordinal) => Status(DriverAPINativeMethods.DeviceManagement.cuDeviceGet(ref *(CUdevice*)device, ordinal));
    public DriverStatus cuDeviceGetName(byte* text, int capacity, int device) => Status(Fill(text, capacity, bytes => DriverAPINativeMethods.DeviceManagement.cuDeviceGetName(bytes, capacity, Device(device))));
    public DriverStatus cuDeviceGetPCIBusId(byte* text, int capacity, int device) => Status(Fill(text, capacity, bytes => DriverAPINativeMethods.DeviceManagement.cuDeviceGetPCIBusId(bytes, capacity, Device(device))));
    public DriverStatus cuDeviceTotalMem_v2(nuint* bytes, int device) => Status(DriverAPINativeMethods.DeviceManagement.cuDeviceTotalMem_v2(ref *(SizeT*)bytes, Device(device)));
    public DriverStatus cuDeviceGetAttribute(int* value, int attribute, int device) => Status(DriverAPINativeMethods.DeviceManagement.cuDeviceGetAttribute(ref *value, (CUDeviceAttribute)attribute, Device(device)));
    public DriverStatus cuDevicePrimaryCtxRetain(nint* context, int device) => Status(DriverAPINativeMethods.ContextManagement.cuDevicePrimaryCtxRetain(ref *(CUcontext*)context, Device(device)));
    public DriverStatus cuDevicePrimaryCtxRelease_v2(int device) => Status(DriverAPINativeMethods.ContextManagement.cuDevicePrimaryCtxRelease(Device(device)));
    public DriverStatus cuCtxSetCurrent(nint context) => Status(DriverAPINativeMethods.ContextManagement.cuCtxSetCurrent(new CUcontext { Pointer = context }));
    public DriverStatus cuCtxSynchronize() => Status(DriverAPINativeMethods.ContextManagement.cuCtxSynchronize());

    // Memory.
    public DriverStatus cuMemGetInfo_v2(nuint* free, nuint* total) => Status(DriverAPINativeMethods.MemoryManagement.cuMemGetInfo_v2(ref *(SizeT*)free, ref *(SizeT*)total));
    public DriverStatus cuMemAlloc_v2(ulong* address, nuint bytes) => Status(DriverAPINativeMethods.MemoryManagement.cuMemAlloc_v2(ref *(CUdeviceptr*)address, bytes));
    public DriverStatus cuMemFree_v2(ulong address) => Status(DriverAPINativeMethods.MemoryManagement.cuMemFree_v2(Address(address)));
    public DriverStatus cuMemPoolCreate(nint* pool, MemoryPoolProperties* properties) => Status(DriverAPINativeMethods.MemoryManagement.cuMemPoolCreate(ref *(CUmemoryPool*)pool, ref *(CUmemPoolProps*)properties));
    public DriverStatus cuMemPoolDestroy(nint pool) => Status(DriverAPINativeMethods.MemoryManagement.cuMemPoolDestroy(Pool(pool)));
    public DriverStatus cuMemPoolSetAttribute(nint pool, int attribute, ulong* value) => Status(DriverAPINativeMethods.MemoryManagement.cuMemPoolSetAttribute(Pool(pool), (CUmemPool_attribute)attribute, ref *value));
    public DriverStatus cuMemPoolGetAttribute(nint pool, int attribute, ulong* value) => Status(DriverAPINativeMethods.MemoryManagement.cuMemPoolGetAttribute(Pool(pool), (CUmemPool_attribute)attribute, ref *value));
    public DriverStatus cuMemPoolTrimTo(nint pool, nuint bytes) => Status(DriverAPINativeMethods.MemoryManagement.cuMemPoolTrimTo(Pool(pool), bytes));
    public DriverStatus cuMemAllocFromPoolAsync(ulong* address, nuint bytes, nint pool, nint stream) => Status(DriverAPINativeMethods.MemoryManagement.cuMemAllocFromPoolAsync(ref *(CUdeviceptr*)address, bytes, Pool(pool), Stream(stream)));
    public DriverStatus cuMemFreeAsync(ulong address, nint stream) => Status(DriverAPINativeMethods.MemoryManagement.cuMemFreeAsync(Address(address), Stream(stream)));
    public DriverStatus cuMemAllocHost_v2(void** memory, nuint bytes) => Status(DriverAPINativeMethods.MemoryManagement.cuMemAllocHost_v2(ref *(nint*)memory, bytes));
    public DriverStatus cuMemFreeHost(void* memory) => Status(DriverAPINativeMethods.MemoryManagement.cuMemFreeHost((nint)memory));
    public DriverStatus cuMemcpyHtoDAsync_v2(ulong to, void* from, nuint bytes, nint stream) => Status(DriverAPINativeMethods.AsynchronousMemcpy_v2.cuMemcpyHtoDAsync_v2(Address(to), (nint)from, bytes, Stream(stream)));
    public DriverStatus cuMemcpyDtoHAsync_v2(void* to, ulong from, nuint bytes, nint stream) => Status(DriverAPINativeMethods.AsynchronousMemcpy_v2.cuMemcpyDtoHAsync_v2((nint)to, Address(from), bytes, Stream(stream)));
    public DriverStatus cuMemcpyDtoDAsync_v2(ulong to, ulong from, nuint bytes, nint stream) => Status(DriverAPINativeMethods.AsynchronousMemcpy_v2.cuMemcpyDtoDAsync_v2(Address(to), Address(from), bytes, Stream(stream)));
    public DriverStatus cuMemsetD8Async(ulong to, byte value, nuint bytes, nint stream) => Status(DriverAPINativeMethods.MemsetAsync.cuMemsetD8Async(Address(to), value, bytes, Stream(stream)));

    // Streams and events.
    public DriverStatus cuStreamCreate(nint* stream, uint flags) => Status(DriverAPINativeMethods.Streams.cuStreamCreate(ref *(CUstream*)stream, (CUStreamFlags)flags));
    public DriverStatus cuStreamDestroy_v2(nint stream) => Status(DriverAPINativeMethods.Streams.cuStreamDestroy_v2(Stream(stream)));
    public DriverStatus cuStreamSynchronize(nint stream) => Status(DriverAPINativeMethods.Streams.cuStreamSynchronize(Stream(stream)));
    public DriverStatus cuStreamWaitEvent(nint stream, nint mark, uint flags) => Status(DriverAPINativeMethods.Streams.cuStreamWaitEvent(Stream(stream), Event(mark), flags));
    public DriverStatus cuStreamBeginCapture_v2(nint stream, int mode) => Status(DriverAPINativeMethods.Streams.cuStreamBeginCapture(Stream(stream), (CUstreamCaptureMode)mode));
    public DriverStatus cuStreamEndCapture(nint stream, nint* graph) => Status(DriverAPINativeMethods.Streams.cuStreamEndCapture(Stream(stream), ref *(CUgraph*)graph));
    public DriverStatus cuEventCreate(nint* mark, uint flags) => Status(DriverAPINativeMethods.Events.cuEventCreate(ref *(CUevent*)mark, (CUEventFlags)flags));
    public DriverStatus cuEventDestroy_v2(nint mark) => Status(DriverAPINativeMethods.Events.cuEventDestroy_v2(Event(mark)));
    public DriverStatus cuEventRecord(nint mark, nint stream) => Status(DriverAPINativeMethods.Events.cuEventRecord(Event(mark), Stream(stream)));
    public DriverStatus cuEventSynchronize(nint mark) => Status(DriverAPINativeMethods.Events.cuEventSynchronize(Event(mark)));
    public DriverStatus cuEventElapsedTime(float* milliseconds, nint start, nint end) => Status(DriverAPINativeMethods.Events.cuEventElapsedTime(ref *milliseconds, Event(start), Event(end)));

    // Modules and launches.
    public DriverStatus LoadModule(nint* module, byte[] image) => Status(DriverAPINativeMethods.ModuleManagement.cuModuleLoadData(ref *(CUmodule*)module, image));
    public DriverStatus cuModuleUnload(nint module) => Status(DriverAPINativeMethods.ModuleManagement.cuModuleUnload(new CUmodule { Pointer = module }));
    public DriverStatus cuModuleGetFunction(nint* function, nint module, byte* name) => Status(DriverAPINativeMethods.ModuleManagement.cuModuleGetFunction(ref *(CUfunction*)function, new CUmodule { Pointer = module }, Marshal.PtrToStringUTF8((nint)name)!));
    public DriverStatus cuFuncGetAttribute(int* value, int attribute, nint function) => Status(DriverAPINativeMethods.FunctionManagement.cuFuncGetAttribute(ref *value, (CUFunctionAttribute)attribute, Function(function)));
    public DriverStatus cuFuncSetAttribute(nint function, int attribute, int value) => Status(DriverAPINativeMethods.FunctionManagement.cuFuncSetAttribute(Function(function), (CUFunctionAttribute)attribute, value));
    public DriverStatus cuFuncGetParamInfo(nint function, nuint index, nuint* offset, nuint* bytes) => Status(DriverAPINativeMethods.FunctionManagement.cuFuncGetParamInfo(Function(function), index, ref *(SizeT*)offset, ref *(SizeT*)bytes));
    public DriverStatus cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, nint function, int threads, nuint sharedBytes) => Status(DriverAPINativeMethods.Occupancy.cuOccupancyMaxActiveBlocksPerMultiprocessor(ref *blocks, Function(function), threads, sharedBytes));

    // Graphs.
    public DriverStatus cuGraphInstantiateWithFlags(nint* executable, nint graph, ulong flags) => Status(DriverAPINativeMethods.GraphManagment.cuGraphInstantiate(ref *(CUgraphExec*)executable, Graph(graph), (CUgraphInstantiate_flags)flags));
    public DriverStatus cuGraphLaunch(nint executable, nint stream) => Status(DriverAPINativeMethods.GraphManagment.cuGraphLaunch(new CUgraphExec { Pointer = executable }, Stream(stream)));
    public DriverStatus cuGraphGetNodes(nint graph, nint* nodes, nuint* count) => Status(DriverAPINativeMethods.GraphManagment.cuGraphGetNodes(Graph(graph), nodes is null ? null : throw new NotSupportedException(), ref *(SizeT*)count));
    public DriverStatus cuGraphDestroy(nint graph) => Status(DriverAPINativeMethods.GraphManagment.cuGraphDestroy(Graph(graph)));
    public DriverStatus cuGraphExecDestroy(nint executable) => Status(DriverAPINativeMethods.GraphManagment.cuGraphExecDestroy(new CUgraphExec { Pointer = executable }));

    public DriverStatus cuLaunchKernel(nint function, uint gridX, uint gridY, uint gridZ, uint blockX, uint blockY, uint blockZ, uint sharedBytes, nint stream, void** parameters, void** extra)
    {
        var only = s_parameters ??= new nint[1];
        only[0] = (nint)parameters[0];
        return Status(DriverAPINativeMethods.Launch.cuLaunchKernel(
            Function(function), gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes, Stream(stream), only, extra is null ? null : throw new NotSupportedException()));
    }

    private static CUResult Fill(byte* text, int capacity, Func<byte[], CUResult> call)
    {
        var bytes = new byte[capacity];
        var result = call(bytes);
        bytes.CopyTo(new Span<byte>(text, capacity));
        return result;
    }

    private static DriverStatus Status(CUResult result) => new((int)result);

    private static CUdevice Device(int value) => new() { Pointer = value };

    private static CUdeviceptr Address(ulong value) => new() { Pointer = value };

    private static CUmemoryPool Pool(nint value) => new() { Pointer = value };

    private static CUstream Stream(nint value) => new() { Pointer = value };

    private static CUevent Event(nint value) => new() { Pointer = value };

    private static CUfunction Function(nint value) => new() { Pointer = value };

    private static CUgraph Graph(nint value) => new() { Pointer = value };
}
