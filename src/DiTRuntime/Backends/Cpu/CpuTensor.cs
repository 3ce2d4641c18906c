using DiTRuntime.Checkpoints;

namespace DiTRuntime.Backends.Cpu;

/// <summary>A tensor in the machine's memory.</summary>
internal sealed unsafe class CpuTensor : Tensor
{
    private readonly NativeBuffer _buffer;
    private readonly bool _ownsBuffer;

    public CpuTensor(CpuBackend owner, ElementType type, ReadOnlySpan<int> shape)
        : base(owner, type, shape)
    {
        _buffer = new NativeBuffer((long)Count * type.ByteSize());
        _ownsBuffer = true;
    }

    private CpuTensor(CpuTensor whole, ReadOnlySpan<int> shape)
        : base(whole.Owner, whole.Type, shape) => _buffer = whole._buffer;

    /// <summary>The elements of an F32 tensor.</summary>
    public float* Floats => _buffer.Floats;

    /// <summary>The elements of an I32 tensor.</summary>
    public int* Integers => (int*)_buffer.Start;

    /// <summary>The stored bytes.</summary>
    public Span<byte> Bytes => new(_buffer.Start, checked(Count * Type.ByteSize()));

    /// <inheritdoc/>
    public override Tensor Prefix(int extent)
    {
        TensorCheck.Prefix(this, extent);
        var shape = Shape.ToArray();
        shape[0] = extent;
        return new CpuTensor(this, shape);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && _ownsBuffer) _buffer.Dispose();
    }
}
