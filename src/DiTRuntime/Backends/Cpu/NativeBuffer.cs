using System.Runtime.InteropServices;

namespace DiTRuntime.Backends.Cpu;

/// <summary>Zeroed, 64-byte aligned memory outside the managed heap, where vectors load without crossing lines and nothing moves.</summary>
internal sealed unsafe class NativeBuffer : SafeHandle
{
    /// <param name="byteCount">Bytes; zero is allowed.</param>
    public NativeBuffer(long byteCount)
        : base(0, ownsHandle: true)
    {
        ByteCount = byteCount;
        var start = NativeMemory.AlignedAlloc((nuint)Math.Max(byteCount, 64), 64);
        NativeMemory.Clear(start, (nuint)byteCount);
        SetHandle((nint)start);
        GC.AddMemoryPressure(Math.Max(byteCount, 1));
    }

    /// <summary>Bytes.</summary>
    public long ByteCount { get; }

    /// <summary>The first byte.</summary>
    public byte* Start
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return (byte*)handle;
        }
    }

    /// <summary>The first float.</summary>
    public float* Floats => (float*)Start;

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMemory.AlignedFree((void*)handle);
        GC.RemoveMemoryPressure(Math.Max(ByteCount, 1));
        return true;
    }
}
