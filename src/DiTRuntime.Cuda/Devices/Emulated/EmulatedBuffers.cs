using System.Runtime.InteropServices;

namespace DiTRuntime.Cuda.Devices.Emulated;

/// <summary>Registered memory; unregistered when disposed, so that a kernel that still uses it is caught.</summary>
internal sealed class EmulatedBuffer(EmulatedDevice device, ulong address, long byteCount) : GpuBuffer
{
    private int _disposed;

    public override DevicePointer Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed != 0, this);
            return new DevicePointer(address);
        }
    }

    public override long ByteCount => byteCount;

    protected override void Dispose(bool disposing)
    {
        if (disposing && Interlocked.Exchange(ref _disposed, 1) == 0) device.Release(address, byteCount);
    }
}

/// <summary>Host memory that does not move.</summary>
internal sealed unsafe class EmulatedPinnedBuffer : PinnedBuffer
{
    private readonly int _byteCount;
    private void* _memory;

    public EmulatedPinnedBuffer(long byteCount)
    {
        _byteCount = checked((int)byteCount);
        _memory = NativeMemory.AlignedAlloc((nuint)byteCount, 4096);
    }

    ~EmulatedPinnedBuffer() => Dispose(disposing: false);

    public override Span<byte> Bytes
    {
        get
        {
            ObjectDisposedException.ThrowIf(_memory is null, this);
            return new Span<byte>(_memory, _byteCount);
        }
    }

    protected override void Dispose(bool disposing)
    {
        NativeMemory.AlignedFree(_memory);
        _memory = null;
    }
}
