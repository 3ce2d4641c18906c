namespace DiTRuntime.Cuda.Interop;

/// <summary>The functions of libcuda that are used, resolved once: one line for each native signature (CUDA 11.4 or newer).</summary>
/// <remarks>CUdevice is an int; CUcontext, CUstream, CUevent, CUmodule, CUfunction, CUgraph, CUgraphExec, CUgraphNode and CUmemoryPool are pointers; CUdeviceptr is a ulong.</remarks>
internal sealed unsafe class DriverApi(SharedLibrary library)
{
    // Start, versions, errors.
    public readonly delegate* unmanaged<uint, DriverStatus> cuInit = (delegate* unmanaged<uint, DriverStatus>)library.Function("cuInit");
    public readonly delegate* unmanaged<int*, DriverStatus> cuDriverGetVersion = (delegate* unmanaged<int*, DriverStatus>)library.Function("cuDriverGetVersion");
    public readonly delegate* unmanaged<int, byte**, DriverStatus> cuGetErrorName = (delegate* unmanaged<int, byte**, DriverStatus>)library.Function("cuGetErrorName");
    public readonly delegate* unmanaged<int, byte**, DriverStatus> cuGetErrorString = (delegate* unmanaged<int, byte**, DriverStatus>)library.Function("cuGetErrorString");

    // Devices and contexts.
    public readonly delegate* unmanaged<int*, DriverStatus> cuDeviceGetCount = (delegate* unmanaged<int*, DriverStatus>)library.Function("cuDeviceGetCount");
    public readonly delegate* unmanaged<int*, int, DriverStatus> cuDeviceGet = (delegate* unmanaged<int*, int, DriverStatus>)library.Function("cuDeviceGet");
    public readonly delegate* unmanaged<byte*, int, int, DriverStatus> cuDeviceGetName = (delegate* unmanaged<byte*, int, int, DriverStatus>)library.Function("cuDeviceGetName");
    public readonly delegate* unmanaged<byte*, int, int, DriverStatus> cuDeviceGetPCIBusId = (delegate* unmanaged<byte*, int, int, DriverStatus>)library.Function("cuDeviceGetPCIBusId");
    public readonly delegate* unmanaged<nuint*, int, DriverStatus> cuDeviceTotalMem_v2 = (delegate* unmanaged<nuint*, int, DriverStatus>)library.Function("cuDeviceTotalMem_v2");
    public readonly delegate* unmanaged<int*, int, int, DriverStatus> cuDeviceGetAttribute = (delegate* unmanaged<int*, int, int, DriverStatus>)library.Function("cuDeviceGetAttribute");
    public readonly delegate* unmanaged<nint*, int, DriverStatus> cuDevicePrimaryCtxRetain = (delegate* unmanaged<nint*, int, DriverStatus>)library.Function("cuDevicePrimaryCtxRetain");
    public readonly delegate* unmanaged<int, DriverStatus> cuDevicePrimaryCtxRelease_v2 = (delegate* unmanaged<int, DriverStatus>)library.Function("cuDevicePrimaryCtxRelease_v2");
    public readonly delegate* unmanaged<nint, DriverStatus> cuCtxSetCurrent = (delegate* unmanaged<nint, DriverStatus>)library.Function("cuCtxSetCurrent");
    public readonly delegate* unmanaged<DriverStatus> cuCtxSynchronize = (delegate* unmanaged<DriverStatus>)library.Function("cuCtxSynchronize");

    // Memory.
    public readonly delegate* unmanaged<nuint*, nuint*, DriverStatus> cuMemGetInfo_v2 = (delegate* unmanaged<nuint*, nuint*, DriverStatus>)library.Function("cuMemGetInfo_v2");
    public readonly delegate* unmanaged<ulong*, nuint, DriverStatus> cuMemAlloc_v2 = (delegate* unmanaged<ulong*, nuint, DriverStatus>)library.Function("cuMemAlloc_v2");
    public readonly delegate* unmanaged<ulong, DriverStatus> cuMemFree_v2 = (delegate* unmanaged<ulong, DriverStatus>)library.Function("cuMemFree_v2");
    public readonly delegate* unmanaged<nint*, MemoryPoolProperties*, DriverStatus> cuMemPoolCreate =
        (delegate* unmanaged<nint*, MemoryPoolProperties*, DriverStatus>)library.Function("cuMemPoolCreate");
    public readonly delegate* unmanaged<nint, DriverStatus> cuMemPoolDestroy = (delegate* unmanaged<nint, DriverStatus>)library.Function("cuMemPoolDestroy");
    public readonly delegate* unmanaged<nint, int, ulong*, DriverStatus> cuMemPoolSetAttribute = (delegate* unmanaged<nint, int, ulong*, DriverStatus>)library.Function("cuMemPoolSetAttribute");
    public readonly delegate* unmanaged<nint, int, ulong*, DriverStatus> cuMemPoolGetAttribute = (delegate* unmanaged<nint, int, ulong*, DriverStatus>)library.Function("cuMemPoolGetAttribute");
    public readonly delegate* unmanaged<nint, nuint, DriverStatus> cuMemPoolTrimTo = (delegate* unmanaged<nint, nuint, DriverStatus>)library.Function("cuMemPoolTrimTo");
    public readonly delegate* unmanaged<ulong*, nuint, nint, nint, DriverStatus> cuMemAllocFromPoolAsync =
        (delegate* unmanaged<ulong*, nuint, nint, nint, DriverStatus>)library.Function("cuMemAllocFromPoolAsync");
    public readonly delegate* unmanaged<ulong, nint, DriverStatus> cuMemFreeAsync = (delegate* unmanaged<ulong, nint, DriverStatus>)library.Function("cuMemFreeAsync");
    public readonly delegate* unmanaged<void**, nuint, DriverStatus> cuMemAllocHost_v2 = (delegate* unmanaged<void**, nuint, DriverStatus>)library.Function("cuMemAllocHost_v2");
    public readonly delegate* unmanaged<void*, DriverStatus> cuMemFreeHost = (delegate* unmanaged<void*, DriverStatus>)library.Function("cuMemFreeHost");
    public readonly delegate* unmanaged<ulong, void*, nuint, nint, DriverStatus> cuMemcpyHtoDAsync_v2 = (delegate* unmanaged<ulong, void*, nuint, nint, DriverStatus>)library.Function("cuMemcpyHtoDAsync_v2");
    public readonly delegate* unmanaged<void*, ulong, nuint, nint, DriverStatus> cuMemcpyDtoHAsync_v2 = (delegate* unmanaged<void*, ulong, nuint, nint, DriverStatus>)library.Function("cuMemcpyDtoHAsync_v2");
    public readonly delegate* unmanaged<ulong, ulong, nuint, nint, DriverStatus> cuMemcpyDtoDAsync_v2 = (delegate* unmanaged<ulong, ulong, nuint, nint, DriverStatus>)library.Function("cuMemcpyDtoDAsync_v2");
    public readonly delegate* unmanaged<ulong, byte, nuint, nint, DriverStatus> cuMemsetD8Async = (delegate* unmanaged<ulong, byte, nuint, nint, DriverStatus>)library.Function("cuMemsetD8Async");

    // Streams and events.
    public readonly delegate* unmanaged<nint*, uint, DriverStatus> cuStreamCreate = (delegate* unmanaged<nint*, uint, DriverStatus>)library.Function("cuStreamCreate");
    public readonly delegate* unmanaged<nint, DriverStatus> cuStreamDestroy_v2 = (delegate* unmanaged<nint, DriverStatus>)library.Function("cuStreamDestroy_v2");
    public readonly delegate* unmanaged<nint, DriverStatus> cuStreamSynchronize = (delegate* unmanaged<nint, DriverStatus>)library.Function("cuStreamSynchronize");
    public readonly delegate* unmanaged<nint, nint, uint, DriverStatus> cuStreamWaitEvent = (delegate* unmanaged<nint, nint, uint, DriverStatus>)library.Function("cuStreamWaitEvent");
    public readonly delegate* unmanaged<nint, int, DriverStatus> cuStreamBeginCapture_v2 = (delegate* unmanaged<nint, int, DriverStatus>)library.Function("cuStreamBeginCapture_v2");
    public readonly delegate* unmanaged<nint, nint*, DriverStatus> cuStreamEndCapture = (delegate* unmanaged<nint, nint*, DriverStatus>)library.Function("cuStreamEndCapture");
    public readonly delegate* unmanaged<nint*, uint, DriverStatus> cuEventCreate = (delegate* unmanaged<nint*, uint, DriverStatus>)library.Function("cuEventCreate");
    public readonly delegate* unmanaged<nint, DriverStatus> cuEventDestroy_v2 = (delegate* unmanaged<nint, DriverStatus>)library.Function("cuEventDestroy_v2");
    public readonly delegate* unmanaged<nint, nint, DriverStatus> cuEventRecord = (delegate* unmanaged<nint, nint, DriverStatus>)library.Function("cuEventRecord");
    public readonly delegate* unmanaged<nint, DriverStatus> cuEventSynchronize = (delegate* unmanaged<nint, DriverStatus>)library.Function("cuEventSynchronize");
    public readonly delegate* unmanaged<float*, nint, nint, DriverStatus> cuEventElapsedTime = (delegate* unmanaged<float*, nint, nint, DriverStatus>)library.Function("cuEventElapsedTime");

    // Modules and launches.
    public readonly delegate* unmanaged<nint*, void*, DriverStatus> cuModuleLoadData = (delegate* unmanaged<nint*, void*, DriverStatus>)library.Function("cuModuleLoadData");
    public readonly delegate* unmanaged<nint, DriverStatus> cuModuleUnload = (delegate* unmanaged<nint, DriverStatus>)library.Function("cuModuleUnload");
    public readonly delegate* unmanaged<nint*, nint, byte*, DriverStatus> cuModuleGetFunction = (delegate* unmanaged<nint*, nint, byte*, DriverStatus>)library.Function("cuModuleGetFunction");
    public readonly delegate* unmanaged<int*, int, nint, DriverStatus> cuFuncGetAttribute = (delegate* unmanaged<int*, int, nint, DriverStatus>)library.Function("cuFuncGetAttribute");
    public readonly delegate* unmanaged<nint, int, int, DriverStatus> cuFuncSetAttribute = (delegate* unmanaged<nint, int, int, DriverStatus>)library.Function("cuFuncSetAttribute");
    public readonly delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, DriverStatus> cuLaunchKernel =
        (delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, DriverStatus>)library.Function("cuLaunchKernel");
    public readonly delegate* unmanaged<int*, nint, int, nuint, DriverStatus> cuOccupancyMaxActiveBlocksPerMultiprocessor =
        (delegate* unmanaged<int*, nint, int, nuint, DriverStatus>)library.Function("cuOccupancyMaxActiveBlocksPerMultiprocessor");

    // From CUDA 12.4 on; null before.
    public readonly delegate* unmanaged<nint, nuint, nuint*, nuint*, DriverStatus> cuFuncGetParamInfo =
        (delegate* unmanaged<nint, nuint, nuint*, nuint*, DriverStatus>)library.TryFunction("cuFuncGetParamInfo");

    // Graphs.
    public readonly delegate* unmanaged<nint*, nint, ulong, DriverStatus> cuGraphInstantiateWithFlags = (delegate* unmanaged<nint*, nint, ulong, DriverStatus>)library.Function("cuGraphInstantiateWithFlags");
    public readonly delegate* unmanaged<nint, nint, DriverStatus> cuGraphLaunch = (delegate* unmanaged<nint, nint, DriverStatus>)library.Function("cuGraphLaunch");
    public readonly delegate* unmanaged<nint, nint*, nuint*, DriverStatus> cuGraphGetNodes = (delegate* unmanaged<nint, nint*, nuint*, DriverStatus>)library.Function("cuGraphGetNodes");
    public readonly delegate* unmanaged<nint, DriverStatus> cuGraphDestroy = (delegate* unmanaged<nint, DriverStatus>)library.Function("cuGraphDestroy");
    public readonly delegate* unmanaged<nint, DriverStatus> cuGraphExecDestroy = (delegate* unmanaged<nint, DriverStatus>)library.Function("cuGraphExecDestroy");

    /// <summary>Whether the driver tells how large a kernel's argument struct is.</summary>
    public bool HasParamInfo => cuFuncGetParamInfo is not null;

    /// <summary>cuModuleLoadData.</summary>
    public DriverStatus LoadModule(nint* module, byte[] image)
    {
        fixed (byte* p = image) return cuModuleLoadData(module, p);
    }
}
