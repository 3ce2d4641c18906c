using System.Runtime.InteropServices;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>
/// A layer of codes into codebooks. Codewords are read as the file has them, as halves, or where the input is quantized as bytes q + 128:
/// a row's vectors side by side are then a row of 8-bit codes with the zero point 128. They are copied only where they fill no slot.
/// </summary>
internal sealed unsafe class CpuCodebookLinear : CpuPackedLinear
{
    /// <summary>Inputs that are looked up at a time, at most: the panel's lines, which a block of eight columns fills by halves, stay in the caches until the next block fills the rest.</summary>
    private const int LineInputs = 256;

    private const int LineBytes = LineInputs * sizeof(ushort) + 64;

    /// <summary>Vectors of a block are a multiple of this, so that blocks begin at a byte and are whole quads.</summary>
    private const int VectorStep = 8;

    private readonly CodebookWeight _weight;
    private readonly NativeBuffer? _vectors;
    private readonly NativeBuffer _rowScales;
    private readonly int _vectorLength;
    private readonly int _codeBits;
    private readonly int _rowBytes;

    public CpuCodebookLinear(CodebookWeight weight)
        : base(weight, new GroupGrid(weight.Inputs, weight.Activations?.GroupSize ?? 0), ActivationFormat.Bits)
    {
        _weight = weight;
        _vectorLength = weight.Format.VectorLength;
        _codeBits = weight.Format.CodeBits;
        _rowBytes = weight.Format.RowBytes(weight.Inputs);
        if (Grid.Size % _vectorLength != 0)
            throw new ArgumentException($"{weight.Name}: activations in groups of {Grid.Size}, codewords of {_vectorLength}; a multiple was expected", nameof(weight));
        if (weight.Activations is not null || CodewordLookup.Slot(VectorBytes) != VectorBytes) _vectors = CopyVectors(weight, VectorBytes);
        _rowScales = new NativeBuffer((long)(weight.Outputs + 64) * sizeof(float));
        var unit = weight.Activations is null ? 1 : weight.IntegerScale;
        for (var n = 0; n < weight.Outputs; n++) _rowScales.Floats[n] = weight.RowScale(n) * unit;
    }

    /// <inheritdoc/>
    public override int ScratchBytes => Activations is null
        ? HalfTransposer.Rows * LineBytes + LineInputs * sizeof(ushort)
        : IntegerPanel.Width * IntegerLineBytes + Grid.Size * sizeof(ushort);

    private int VectorBytes => _vectorLength * (Activations is null ? sizeof(ushort) : sizeof(sbyte));

    /// <summary>Bytes of a row of integers, and what its last slot holds beyond them.</summary>
    private int IntegerLineBytes => (Grid.Size + 63) / 32 * 32;

    private CodewordLookup Lookup => new()
    {
        Vectors = _vectors is null ? Pointer(MemoryMarshal.AsBytes(_weight.Vectors)) : _vectors.Start,
        SlotBytes = CodewordLookup.Slot(VectorBytes),
        VectorBytes = VectorBytes,
        Table = _weight.Format.PoolSize == 0 ? null : Pointer(_weight.Table),
        BookStep = _weight.Format.IsProduct ? _weight.Format.CodebookSize : 0,
        IsWideTable = _weight.Format.TableType == Checkpoints.ElementType.U32,
    };

    /// <inheritdoc/>
    public override int BlockDepth(int most) => most / (VectorStep * _vectorLength) * VectorStep * _vectorLength;

    /// <inheritdoc/>
    public override void FillIntegers(int firstOutput, int group, sbyte* panel, float* scales, int* zeros, int* sums, byte* scratch)
    {
        var (start, length) = (Grid.Start(group), Grid.Length(group));
        var columns = Math.Min(IntegerPanel.Width, Outputs - firstOutput);
        var offsets = stackalloc byte[IntegerPanel.Width];
        for (var column = 0; column < IntegerPanel.Width; column++)
        {
            offsets[column] = PanelUnpacker.ByteOffset;
            scales[column] = _rowScales.Floats[firstOutput + column];
            zeros[column] = 0;
            // The biased bytes' own sum is added as they are read.
            sums[column] = -PanelUnpacker.ByteOffset * length;
        }

        ReadLines(firstOutput, columns, start / _vectorLength, length / _vectorLength, scratch, IntegerLineBytes, (ushort*)(scratch + IntegerPanel.Width * IntegerLineBytes));
        PanelUnpacker.Unpack(scratch, IntegerLineBytes, ActivationFormat.Bits, length, columns, offsets, panel, sums);
    }

    /// <inheritdoc/>
    public override void FillFloats(int firstOutput, int outputs, int firstInput, int depth, float* panel, int width, byte* scratch)
    {
        var lineInputs = BlockDepth(LineInputs);
        var codes = (ushort*)(scratch + HalfTransposer.Rows * LineBytes);
        for (var k = 0; k < depth; k += lineInputs, panel += (nint)lineInputs * width)
        {
            var count = Math.Min(lineInputs, depth - k);
            for (var n = 0; n < outputs; n += HalfTransposer.Rows)
            {
                var rows = Math.Min(HalfTransposer.Rows, outputs - n);
                var (firstVector, vectorCount) = ((firstInput + k) / _vectorLength, count / _vectorLength);
                var scales = _rowScales.Floats + firstOutput + n;
                if (rows == HalfTransposer.Rows && CodewordLookup.HasColumns(VectorBytes, vectorCount) && ShareBook(firstOutput + n, rows, firstVector))
                {
                    ReadColumns(firstOutput + n, firstVector, vectorCount, scales, panel + n, width, (ushort*)scratch);
                    continue;
                }

                ReadLines(firstOutput + n, rows, firstVector, vectorCount, scratch, LineBytes, codes);
                if (HalfTransposer.IsSupported && n + HalfTransposer.Rows <= width) HalfTransposer.Transpose(scratch, LineBytes, scales, count, panel + n, width);
                else for (var r = 0; r < rows; r++) HalfTransposer.Transpose((Half*)(scratch + r * LineBytes), scales[r], count, panel + n + r, width);
            }
        }
    }

    private bool ShareBook(int firstRow, int rows, int vector) => _weight.BookOf(firstRow, vector) == _weight.BookOf(firstRow + rows - 1, vector);

    /// <summary>Some vectors of eight rows that share their codebook, as columns of a panel.</summary>
    private void ReadColumns(int firstOutput, int firstVector, int count, float* scales, float* panel, int width, ushort* codes)
    {
        var entry = _weight.BookOf(firstOutput, firstVector) * _weight.Format.CodebookSize;
        var source = Pointer(_weight.Codes) + (long)firstOutput * _rowBytes;
        for (var row = 0; row < HalfTransposer.Rows; row++) PrefetchNext(source + (long)row * _rowBytes, firstVector, count);
        if (_codeBits == 8)
        {
            Lookup.ReadColumns(source + firstVector, _rowBytes, count, entry, scales, panel, width);
            return;
        }

        for (var row = 0; row < HalfTransposer.Rows; row++)
            BitPacking.Unpack(_weight.Codes.Slice((firstOutput + row) * _rowBytes, _rowBytes), _codeBits, firstVector, new Span<ushort>(codes + row * count, count));
        Lookup.ReadColumns(codes, count, count, entry, scales, panel, width);
    }

    /// <summary>Some vectors of neighbouring rows.</summary>
    private void ReadLines(int firstOutput, int rows, int firstVector, int count, byte* lines, int lineBytes, ushort* codes)
    {
        var (lookup, format) = (Lookup, _weight.Format);
        var packed = _weight.Codes;
        for (var row = firstOutput; row < firstOutput + rows; row++, lines += lineBytes)
        {
            var source = packed.Slice(row * _rowBytes, _rowBytes);
            PrefetchNext(Pointer(source), firstVector, count);
            var entry = _weight.BookOf(row, firstVector) * format.CodebookSize;
            if (_codeBits == 8)
            {
                lookup.Read(Pointer(source) + firstVector, count, entry, lines);
            }
            else
            {
                BitPacking.Unpack(source, _codeBits, firstVector, new Span<ushort>(codes, count));
                lookup.Read(codes, count, entry, lines);
            }
        }
    }

    /// <summary>As many codes of a row as are read now, behind them.</summary>
    private void PrefetchNext(byte* row, int firstVector, int count) => Prefetch(row + (long)firstVector * _codeBits / 8 + count * _codeBits / 8, count * _codeBits / 8);

    /// <summary>Codewords in slots: halves as they are, or bytes q + 128.</summary>
    private static NativeBuffer CopyVectors(CodebookWeight weight, int vectorBytes)
    {
        var vectors = weight.Vectors;
        var (d, slot) = (weight.Format.VectorLength, CodewordLookup.Slot(vectorBytes));
        var buffer = new NativeBuffer((long)vectors.Length / d * slot);
        for (var i = 0; i < vectors.Length; i++)
        {
            var at = buffer.Start + (long)(i / d) * slot;
            if (weight.Activations is null) ((Half*)at)[i % d] = vectors[i];
            else at[i % d] = (byte)(weight.ToInteger(vectors[i]) + PanelUnpacker.ByteOffset);
        }

        return buffer;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        if (!disposing) return;
        _vectors?.Dispose();
        _rowScales.Dispose();
    }
}
