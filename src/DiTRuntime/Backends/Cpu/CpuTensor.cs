using DiTRuntime.Checkpoints;

namespace DiTRuntime.Backends.Cpu;

/// <summary>A tensor in the machine's memory.</summary>
internal sealed unsafe class CpuTensor : Tensor
{
    private readonly NativeBuffer _buffer;
    private readonly bool _ownsBuffer;
    private readonly long _firstByte;

    public CpuTensor(CpuBackend owner, ElementType type, ReadOnlySpan<int> shape)
        : base(owner, type, shape)
    {
        _buffer = new NativeBuffer((long)Count * type.ByteSize());
        _ownsBuffer = true;
    }

    private CpuTensor(CpuTensor whole, long firstByte, ReadOnlySpan<int> shape)
        : base(whole.Owner, whole.Type, shape)
    {
        _buffer = whole._buffer;
        _firstByte = firstByte;
    }

    /// <summary>The elements of an F32 tensor.</summary>
    public float* Floats => (float*)Start;

    /// <summary>The elements of an I32 tensor.</summary>
    public int* Integers => (int*)Start;

    /// <summary>The stored bytes.</summary>
    public Span<byte> Bytes => new(Start, checked(Count * Type.ByteSize()));

    private byte* Start => _buffer.Start + _firstByte;

    /// <inheritdoc/>
    protected override Tensor View(int firstSlice, ReadOnlySpan<int> shape) =>
        new CpuTensor(this, _firstByte + (long)firstSlice * (Count / Shape[0]) * Type.ByteSize(), shape);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && _ownsBuffer) _buffer.Dispose();
    }
}
