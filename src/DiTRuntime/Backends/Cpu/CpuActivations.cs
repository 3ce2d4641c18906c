using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends.Cpu;

/// <summary>Quantized activations: per row the codes, and per group a scale, a zero point and the sum of the codes.</summary>
internal sealed unsafe class CpuActivations : Tensor
{
    /// <summary>Readable rows past the last: no tile has more.</summary>
    private const int PaddingRows = 16;

    private readonly NativeBuffer _codes;
    private readonly NativeBuffer _groups;
    private readonly NativeBuffer? _staticRanges;
    private readonly bool _ownsBuffers;

    public CpuActivations(CpuBackend owner, ActivationFormat format, ReadOnlySpan<int> shape)
        : base(owner, ElementType.U8, shape, format)
    {
        _ownsBuffers = true;
        _codes = new NativeBuffer((long)(RowCount + PaddingRows) * CodeStride);
        RowStride = RowCount + PaddingRows;
        _groups = new NativeBuffer(3L * RowStride * Grid.Count * sizeof(float));
        if (format.StaticScales is not { } scales) return;
        _staticRanges = new NativeBuffer(2L * Grid.Count * sizeof(float));
        for (var g = 0; g < Grid.Count; g++)
        {
            _staticRanges.Floats[g] = scales[g];
            _staticRanges.Floats[Grid.Count + g] = format.StaticZeros![g];
        }
    }

    private CpuActivations(CpuActivations whole, ReadOnlySpan<int> shape)
        : base(whole.Owner, ElementType.U8, shape, whole.Activations)
    {
        RowStride = whole.RowStride;
        _codes = whole._codes;
        _groups = whole._groups;
        _staticRanges = whole._staticRanges;
    }

    /// <summary>The groups of a row.</summary>
    public GroupGrid Grid => Activations!.Grid(RowLength);

    /// <summary>Bytes from one row's codes to the next: whole groups of four, which one dot product takes.</summary>
    public int CodeStride => (RowLength + 3) / 4 * 4;

    /// <summary>q [rows, code stride].</summary>
    public byte* Codes => _codes.Start;

    /// <summary>From one group's scales to the next.</summary>
    public long RowStride { get; }

    /// <summary>s [G, row stride].</summary>
    public float* Scales => _groups.Floats;

    /// <summary>Z [G, row stride].</summary>
    public int* Zeros => (int*)_groups.Start + RowStride * Grid.Count;

    /// <summary>Σ q [G, row stride].</summary>
    public int* Sums => Zeros + RowStride * Grid.Count;

    /// <summary>Fixed scales and then zero points [2, G], or null for ranges found at run time.</summary>
    public float* StaticRanges => _staticRanges is null ? null : _staticRanges.Floats;

    /// <inheritdoc/>
    protected override Tensor View(int firstSlice, ReadOnlySpan<int> shape) => new CpuActivations(this, shape);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (!disposing || !_ownsBuffers) return;
        _codes.Dispose();
        _groups.Dispose();
        _staticRanges?.Dispose();
    }
}
