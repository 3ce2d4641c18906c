using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace DiTRuntime.Cuda.Interop;

/// <summary>CUdevice_attribute: those that are asked for.</summary>
internal static class DeviceAttribute
{
    public const int CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16;
    public const int CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = 38;
    public const int CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75;
    public const int CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76;
    public const int CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97;
    public const int CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED = 115;
}

/// <summary>CUfunction_attribute: those that are asked for or set.</summary>
internal static class FunctionAttribute
{
    public const int CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1;
    public const int CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3;
    public const int CU_FUNC_ATTRIBUTE_NUM_REGS = 4;
    public const int CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8;
}

/// <summary>CUmemPool_attribute: those that are asked for or set.</summary>
internal static class PoolAttribute
{
    public const int CU_MEMPOOL_ATTR_RELEASE_THRESHOLD = 4;
    public const int CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT = 5;
    public const int CU_MEMPOOL_ATTR_USED_MEM_CURRENT = 7;
}

/// <summary>Flags of streams and captures.</summary>
internal static class StreamFlag
{
    public const uint CU_STREAM_NON_BLOCKING = 1;
    public const int CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1;
}

/// <summary>CUmemPoolProps.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct MemoryPoolProperties
{
    public const int CU_MEM_ALLOCATION_TYPE_PINNED = 1;
    public const int CU_MEM_LOCATION_TYPE_DEVICE = 1;

    public int AllocType;
    public int HandleTypes;
    public int LocationType;
    public int LocationId;
    public nint Win32SecurityAttributes;
    public nuint MaxSize;
    public ushort Usage;
    public Reserved Rest;

    [InlineArray(54)]
    public struct Reserved
    {
        private byte _first;
    }
}
