using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends.Cpu.Reference;

/// <summary>A tensor in a managed array, from element 0 on.</summary>
internal sealed class ReferenceTensor : Tensor
{
    private readonly Array _values;

    public ReferenceTensor(ReferenceBackend owner, ElementType type, ReadOnlySpan<int> shape)
        : base(owner, type, shape) => _values = type == ElementType.F32 ? new float[Count] : new int[Count];

    /// <summary>The input of a linear layer.</summary>
    public ReferenceTensor(ReferenceBackend owner, ActivationFormat? format, ReadOnlySpan<int> shape)
        : base(owner, format is null ? ElementType.F32 : ElementType.U8, shape, format) => _values = new float[Count];

    private ReferenceTensor(ReferenceTensor whole, ReadOnlySpan<int> shape)
        : base(whole.Owner, whole.Type, shape, whole.Activations) => _values = whole._values;

    /// <summary>The elements of an F32 tensor; of a quantized one the values s(q − Z), once <see cref="FinishRow"/> has been there.</summary>
    public Span<float> Floats => ((float[])_values).AsSpan(0, Count);

    /// <summary>The elements of an I32 tensor.</summary>
    public Span<int> Integers => ((int[])_values).AsSpan(0, Count);

    /// <summary>Brings a row that an operation has written to what the tensor's format can hold.</summary>
    public void FinishRow(int row)
    {
        if (Activations is null) return;
        var values = Floats.Slice(row * RowLength, RowLength);
        var grid = Activations.Grid(RowLength);
        var (codes, scales, zeros) = (new byte[RowLength], new float[grid.Count], new byte[grid.Count]);
        ActivationQuantizer.Quantize(values, Activations, codes, scales, zeros);
        for (var i = 0; i < RowLength; i++) values[i] = scales[i / grid.Size] * (codes[i] - zeros[i / grid.Size]);
    }

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
