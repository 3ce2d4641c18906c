using DiTRuntime.Checkpoints;

namespace DiTRuntime.Backends.Cpu.Reference;

/// <summary>A tensor in a managed array, from element 0 on.</summary>
internal sealed class ReferenceTensor : Tensor
{
    private readonly Array _values;

    public ReferenceTensor(ReferenceBackend owner, ElementType type, ReadOnlySpan<int> shape)
        : base(owner, type, shape) => _values = type == ElementType.F32 ? new float[Count] : new int[Count];

    private ReferenceTensor(ReferenceTensor whole, ReadOnlySpan<int> shape)
        : base(whole.Owner, whole.Type, shape) => _values = whole._values;

    /// <summary>The elements of an F32 tensor.</summary>
    public Span<float> Floats => ((float[])_values).AsSpan(0, Count);

    /// <summary>The elements of an I32 tensor.</summary>
    public Span<int> Integers => ((int[])_values).AsSpan(0, Count);

    /// <inheritdoc/>
    public override Tensor Prefix(int extent)
    {
        TensorCheck.Prefix(this, extent);
        return new ReferenceTensor(this, [extent, .. Shape[1..]]);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        // The garbage collector takes the array; prefixes may still share it.
    }
}
