using System.Runtime.InteropServices;

namespace DiTRuntime.Backends.Cpu;

/// <summary>Zeroed, 64-byte aligned memory outside the managed heap, where vectors load without crossing lines and nothing moves.</summary>
internal sealed unsafe class NativeBuffer : SafeHandle
{
    private const int Alignment = 64;

    /// <param name="byteCount">Bytes; zero is allowed.</param>
    public NativeBuffer(long byteCount)
        : base(0, ownsHandle: true)
    {
        ByteCount = byteCount;
        // calloc gives large blocks as untouched zero pages; whoever fills them first pays for them, on its own thread.
        SetHandle((nint)NativeMemory.AllocZeroed((nuint)byteCount + Alignment));
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
            return (byte*)((handle + Alignment - 1) & -Alignment);
        }
    }

    /// <summary>The first float.</summary>
    public float* Floats => (float*)Start;

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMemory.Free((void*)handle);
        GC.RemoveMemoryPressure(Math.Max(ByteCount, 1));
        return true;
    }
}
