using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Packs sixteen rows of a weight into a record (kernels/abi/weight.h). One thread's.</summary>
internal sealed class RecordPacker : IRecordPacker
{
    private const int Rows = WeightLayout.RecordRows;

    private readonly LinearWeight _weight;
    private readonly WeightLayout _layout;
    private readonly int _rowWords;
    private readonly uint[] _rows;
    private readonly float[] _values;
    private readonly byte[] _codes;
    private readonly Half[] _corrections;

    /// <param name="weight">The weight.</param>
    /// <param name="layout">Its layout on the device.</param>
    public RecordPacker(LinearWeight weight, WeightLayout layout)
    {
        _weight = weight;
        _layout = layout;
        var isHalf = layout.Format == GemmFormat.F16;
        _rowWords = layout.Steps * 8;
        _rows = new uint[Rows * _rowWords];
        _values = isHalf ? new float[Rows * weight.Inputs] : [];
        _codes = isHalf ? [] : new byte[weight.Inputs];
        _corrections = new Half[Rows * layout.CorrectionSteps * 16];
    }

    /// <inheritdoc/>
    public void Pack(int firstRow, Span<byte> record)
    {
        record.Clear();
        Array.Clear(_rows);
        Array.Clear(_corrections);
        var rowCount = Math.Min(Rows, _weight.Outputs - firstRow);
        _weight.Bias?.AsSpan(firstRow, rowCount).CopyTo(MemoryMarshal.Cast<byte, float>(record[_layout.BiasAt..]));
        var codes = MemoryMarshal.Cast<byte, uint>(record[.._layout.CorrectionsAt]);
        if (_layout.Format == GemmFormat.F16)
        {
            ReadHalves(firstRow, rowCount);
        }
        else
        {
            var scales = MemoryMarshal.Cast<byte, uint>(record[_layout.ScalesAt.._layout.BiasAt]);
            for (var row = 0; row < rowCount; row++) ReadCodes((GroupWeight)_weight, firstRow + row, row, scales);
            Fragments.WriteWords(MemoryMarshal.Cast<Half, uint>(_corrections), _layout.CorrectionSteps, MemoryMarshal.Cast<byte, uint>(record[_layout.CorrectionsAt.._layout.ScalesAt]));
        }

        switch (_layout.Format)
        {
            case GemmFormat.W4A8: WriteNibbles(codes); break;
            case GemmFormat.W8A16: WritePairs(codes); break;
            case GemmFormat.W4A16: WriteNibblePairs(codes); break;
            default: Fragments.WriteWords(_rows, _layout.Steps, codes); break;
        }
    }

    private void ReadHalves(int firstRow, int rowCount)
    {
        var k = _weight.Inputs;
        var values = _values.AsSpan(0, rowCount * k);
        _weight.CopyRows(firstRow, rowCount, values);
        var largest = TensorPrimitives.MaxMagnitude<float>(values);
        if (!Half.IsFinite((Half)largest)) throw TooLarge("a weight", largest);
        for (var row = 0; row < rowCount; row++)
            TensorPrimitives.ConvertToHalf(values.Slice(row * k, k), MemoryMarshal.Cast<uint, Half>(_rows.AsSpan(row * _rowWords, _rowWords)));
    }

    private void ReadCodes(GroupWeight weight, int sourceRow, int row, Span<uint> scales)
    {
        var (grid, rowBytes) = (_layout.Grid, weight.Format.RowBytes(weight.Inputs));
        BitPacking.Unpack(weight.Codes.Slice(sourceRow * rowBytes, rowBytes), weight.Format.Bits, _codes);
        var padded = MemoryMarshal.AsBytes(_rows.AsSpan(row * _rowWords, _rowWords));
        for (var g = 0; g < grid.Count; g++)
        {
            var (scale, zero) = (weight.Scales[sourceRow * grid.Count + g], weight.Zeros[sourceRow * grid.Count + g]);
            var group = _codes.AsSpan(grid.Start(g), grid.Length(g));
            group.CopyTo(padded[(g * _layout.Pitch)..]);
            if (_layout.Format.IsInteger())
            {
                scales[g * Rows + row] = BitConverter.SingleToUInt32Bits((float)scale);
                WriteCorrections(row, g, -group.Length * (float)scale * zero, -(float)scale * Sum(group));
            }
            else
            {
                // Padding dequantizes to 0; 1024 + Z is exact in a half.
                padded.Slice(g * _layout.Pitch + group.Length, _layout.Pitch - group.Length).Fill(zero);
                scales[g * Rows + row] = BitConverter.HalfToUInt16Bits(scale) | (0x6400u | zero) << 16;
            }
        }
    }

    private void WriteCorrections(int row, int group, float b, float c)
    {
        var target = _corrections.AsSpan((row * _layout.CorrectionSteps * 16) + 6 * group, 6);
        if (!Fragments.TrySplit(b, target[..3]) || !Fragments.TrySplit(c, target[3..])) throw TooLarge("the contribution of a group's zero point", Math.Abs(b) > Math.Abs(c) ? b : c);
    }

    private static int Sum(ReadOnlySpan<byte> codes)
    {
        var sum = 0;
        foreach (var code in codes) sum += code;
        return sum;
    }

    private void WriteNibbles(Span<uint> target)
    {
        for (var step = 0; step < _layout.Steps; step++)
        {
            for (var row = 0; row < Rows; row++)
            {
                var words = _rows.AsSpan(row * _rowWords + step * 8, 8);
                for (var t = 0; t < 4; t++) target[(step * 32 + row % 8 * 4 + t) * 2 + row / 8] = words[t] | words[t + 4] << 4;
            }
        }
    }

    private void WritePairs(Span<uint> target)
    {
        for (var step = 0; step < _layout.Steps; step++)
        {
            for (var row = 0; row < Rows; row++)
            {
                var pairs = MemoryMarshal.Cast<uint, ushort>(_rows.AsSpan(row * _rowWords + step * 8, 8));
                for (var t = 0; t < 4; t++)
                {
                    var lane = target.Slice((step * 32 + row % 8 * 4 + t) * 4, 4);
                    lane[row / 8] = pairs[t] | (uint)pairs[t + 4] << 16;
                    lane[2 + row / 8] = pairs[t + 8] | (uint)pairs[t + 12] << 16;
                }
            }
        }
    }

    private void WriteNibblePairs(Span<uint> target)
    {
        for (var step = 0; step < _layout.Steps; step++)
        {
            for (var row = 0; row < Rows; row++)
            {
                var pairs = MemoryMarshal.Cast<uint, ushort>(_rows.AsSpan(row * _rowWords + step * 8, 8));
                for (var t = 0; t < 4; t++)
                {
                    var word = 0u;
                    for (var p = 0; p < 4; p++) word |= (pairs[t + 4 * p] & 0xffu | (uint)(pairs[t + 4 * p] >> 8) << 16) << (4 * p);
                    target[(step * 32 + row % 8 * 4 + t) * 2 + row / 8] = word;
                }
            }
        }
    }

    private InvalidFileException TooLarge(string what, float value) =>
        new(_weight.Name, $"{what} is {value:g4}; a half holds at most 65504, and the GPU's products read halves");
}
