namespace DiTRuntime.Cuda.Interop;

/// <summary>CUmemoryPool of a device, with a stream of its own in which memory is reserved and given back.</summary>
/// <remarks>What is given back stays with the process and is reserved again without asking the driver, until <see cref="Trim"/>.</remarks>
internal sealed unsafe class MemoryPoolHandle : DriverHandle
{
    private MemoryPoolHandle(ContextHandle context, nint value, StreamHandle stream)
        : base(context, value, stream) => Stream = stream;

    public StreamHandle Stream { get; }

    /// <summary>Bytes the pool holds that nobody uses.</summary>
    public long IdleBytes => (long)(Attribute(PoolAttribute.CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) - Attribute(PoolAttribute.CU_MEMPOOL_ATTR_USED_MEM_CURRENT));

    public static MemoryPoolHandle Create(ContextHandle context)
    {
        var api = context.Api;
        using var stream = StreamHandle.Create(context);
        var properties = new MemoryPoolProperties
        {
            AllocType = MemoryPoolProperties.CU_MEM_ALLOCATION_TYPE_PINNED,
            LocationType = MemoryPoolProperties.CU_MEM_LOCATION_TYPE_DEVICE,
            LocationId = context.Device,
        };
        nint value;
        api.cuMemPoolCreate(&value, &properties).ThrowIfFailed(api, "cuMemPoolCreate");
        var pool = new MemoryPoolHandle(context, value, stream);
        var threshold = ulong.MaxValue;
        var status = api.cuMemPoolSetAttribute(value, PoolAttribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold);
        if (!status.Succeeded) pool.Dispose();
        status.ThrowIfFailed(api, "cuMemPoolSetAttribute");
        return pool;
    }

    /// <summary>Gives back to the driver what nobody uses.</summary>
    public void Trim() => Api.cuMemPoolTrimTo(Value, 0).ThrowIfFailed(Api, "cuMemPoolTrimTo");

    protected override DriverStatus Destroy() => Api.cuMemPoolDestroy(handle);

    private ulong Attribute(int attribute)
    {
        ulong value;
        Api.cuMemPoolGetAttribute(Value, attribute, &value).ThrowIfFailed(Api, "cuMemPoolGetAttribute");
        return value;
    }
}

/// <summary>CUdeviceptr from cuMemAlloc or from a pool.</summary>
internal sealed unsafe class MemoryHandle : DriverHandle
{
    private readonly MemoryPoolHandle? _pool;

    private MemoryHandle(ContextHandle context, ulong value, MemoryPoolHandle? pool)
        : base(context, (nint)value, pool is null ? [] : [pool]) => _pool = pool;

    /// <summary>Reserves memory that every stream may use at once.</summary>
    /// <param name="context">Where.</param>
    /// <param name="pool">From what; null where the device has no pools.</param>
    /// <param name="byteCount">How much.</param>
    /// <param name="memory">It; null on failure.</param>
    public static DriverStatus TryAllocate(ContextHandle context, MemoryPoolHandle? pool, nuint byteCount, out MemoryHandle? memory)
    {
        var api = context.Api;
        context.MakeCurrent();
        memory = null;
        ulong address;
        DriverStatus status;
        if (pool is null)
        {
            status = api.cuMemAlloc_v2(&address, byteCount);
            if (status.Succeeded) memory = new MemoryHandle(context, address, pool);
            return status;
        }

        status = api.cuMemAllocFromPoolAsync(&address, byteCount, pool.Value, pool.Stream.Value);
        if (status.IsOutOfMemory)
        {
            // What is idle may be in pieces too small.
            pool.Trim();
            status = api.cuMemAllocFromPoolAsync(&address, byteCount, pool.Value, pool.Stream.Value);
        }

        if (!status.Succeeded) return status;
        memory = new MemoryHandle(context, address, pool);
        status = api.cuStreamSynchronize(pool.Stream.Value);
        if (status.Succeeded) return status;
        memory.Dispose();
        memory = null;
        return status;
    }

    protected override DriverStatus Destroy()
    {
        if (_pool is null) return Api.cuMemFree_v2((ulong)handle);
        // Unlike cuMemFree, this one does not wait for the streams that still use it.
        Api.cuCtxSynchronize();
        return Api.cuMemFreeAsync((ulong)handle, _pool.Stream.Value);
    }
}
