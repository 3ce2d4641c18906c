using System.Numerics.Tensors;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>A group-quantized layer: scales are copied as fp32.</summary>
internal sealed unsafe class CpuGroupLinear : CpuPackedLinear
{
    private readonly GroupWeight _weight;
    private readonly NativeBuffer _scales;
    private readonly int _rowBytes;

    public CpuGroupLinear(GroupWeight weight)
        : base(weight, weight.Grid, weight.Format.Bits)
    {
        _weight = weight;
        _rowBytes = weight.Format.RowBytes(weight.Inputs);
        if (Grid.Count > 1 && Grid.Size % CodeReader.Step != 0)
            throw new UsageException($"{weight.Name} is packed in groups of {Grid.Size}; the cpu backend runs groups that are multiples of {CodeReader.Step}, or whole rows");
        if (weight.Activations is { } activations && activations.Grid(weight.Inputs).Size != Grid.Size)
            throw new ArgumentException($"{weight.Name}: weights in groups of {Grid.Size}, activations in groups of {activations.Grid(weight.Inputs).Size}; they must be equal", nameof(weight));
        var scales = weight.Scales;
        _scales = new NativeBuffer((long)scales.Length * sizeof(float));
        TensorPrimitives.ConvertToSingle(scales, new Span<float>(_scales.Floats, scales.Length));
    }

    /// <inheritdoc/>
    public override bool LeavesZeros => PanelUnpacker.LeavesZeros(Bits);

    private byte* Codes => Pointer(_weight.Codes);

    /// <inheritdoc/>
    public override void FillIntegers(int firstOutput, int group, sbyte* panel, float* scales, int* zeros, int* sums, byte* scratch)
    {
        var (start, length) = (Grid.Start(group), Grid.Length(group));
        var columns = Math.Min(IntegerPanel.Width, Outputs - firstOutput);
        var offsets = stackalloc byte[IntegerPanel.Width];
        for (var column = 0; column < IntegerPanel.Width; column++)
        {
            var index = Math.Min(firstOutput + column, Outputs - 1) * Grid.Count + group;
            var zero = _weight.Zeros[index];
            scales[column] = _scales.Floats[index];
            zeros[column] = LeavesZeros ? zero - PanelUnpacker.ByteOffset : 0;
            offsets[column] = LeavesZeros ? PanelUnpacker.ByteOffset : zero;
            // The codes' own sum is added as they are read.
            sums[column] = -length * zero;
        }

        var codes = Codes + (long)firstOutput * _rowBytes + (long)start * Bits / 8;
        PanelUnpacker.Unpack(codes, _rowBytes, Bits, length, columns, offsets, panel, sums);
        for (var column = 0; column < columns; column++, codes += _rowBytes)
        {
            // The group that is wanted next: of the same row, or after its last the first of the next panel's row.
            var next = group + 1 < Grid.Count ? codes + length * Bits / 8 : codes + (long)IntegerPanel.Width * _rowBytes - (long)start * Bits / 8;
            Prefetch(next, length * Bits / 8);
        }
    }

    /// <inheritdoc/>
    public override void FillFloats(int firstOutput, int outputs, int firstInput, int depth, float* panel, int width, byte* scratch)
    {
        var codes = Codes + (long)firstOutput * _rowBytes;
        for (var n = 0; n < outputs; n++, codes += _rowBytes) FillColumn(codes, (firstOutput + n) * Grid.Count, firstInput, firstInput + depth, panel + n, width);
    }

    /// <summary>w = s(q − Z) for one row of W, into a column of a panel.</summary>
    private void FillColumn(byte* codes, int firstGroup, int firstInput, int endInput, float* column, int width)
    {
        for (var k = firstInput; k < endInput;)
        {
            // Blocks begin and end inside groups where those do not divide them.
            var group = k / Grid.Size;
            var end = Math.Min(Grid.Start(group) + Grid.Length(group), endInput);
            var (scale, zero) = (_scales.Floats[firstGroup + group], (int)_weight.Zeros[firstGroup + group]);
            for (; k < end; k += CodeReader.Step)
            {
                var left = Math.Min(CodeReader.Step, end - k);
                var source = codes + (long)k * Bits / 8;
                var eight = left == CodeReader.Step ? CodeReader.ReadEight(source, Bits) : CodeReader.ReadLast(source, Bits, left);
                for (var i = 0; i < left; i++, eight >>= 8)
                    column[(k - firstInput + i) * (long)width] = scale * ((int)(eight & 0xff) - zero);
            }

            k = end;
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        if (disposing) _scales.Dispose();
    }
}
