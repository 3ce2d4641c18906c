using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends.Cpu.Reference;

/// <summary>A tensor in a managed array.</summary>
internal sealed class ReferenceTensor : Tensor
{
    private readonly Array _values;
    private readonly int _first;

    public ReferenceTensor(ReferenceBackend owner, ElementType type, ReadOnlySpan<int> shape)
        : base(owner, type, shape) => _values = type == ElementType.F32 ? new float[Count] : new int[Count];

    /// <summary>The input of a linear layer.</summary>
    public ReferenceTensor(ReferenceBackend owner, ActivationFormat? format, ReadOnlySpan<int> shape)
        : base(owner, format is null ? ElementType.F32 : ElementType.U8, shape, format) => _values = new float[Count];

    private ReferenceTensor(ReferenceTensor whole, int first, ReadOnlySpan<int> shape)
        : base(whole.Owner, whole.Type, shape, whole.Activations)
    {
        _values = whole._values;
        _first = first;
    }

    /// <summary>The elements of an F32 tensor; of a quantized one the values s(q − Z), once <see cref="FinishRow"/> has been there.</summary>
    public Span<float> Floats => ((float[])_values).AsSpan(_first, Count);

    /// <summary>The elements of an I32 tensor.</summary>
    public Span<int> Integers => ((int[])_values).AsSpan(_first, Count);

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
    protected override Tensor View(int firstSlice, ReadOnlySpan<int> shape) => new ReferenceTensor(this, _first + firstSlice * (Count / Shape[0]), shape);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        // The garbage collector takes the array; views may still share it.
    }
}
