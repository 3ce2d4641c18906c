using System.Buffers.Binary;
using System.Runtime.InteropServices;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Packs sixteen rows of a codebook weight: into a record, or where records are decoded before a product into codes and what follows them.</summary>
internal sealed class CodebookRecordPacker : IRecordPacker
{
    private const int Rows = WeightLayout.RecordRows;

    /// <summary>Bytes of decoded weights are q + 128.</summary>
    private const int ZeroPoint = 128;

    /// <summary>u in kernels/abi/weight.h: integer sums are taken in units of 2^-8, so that no sum of codes is beyond a half.</summary>
    private const float IntegerUnit = 1 / 256f;

    private readonly CodebookWeight _weight;
    private readonly WeightLayout _layout;
    private readonly CodebookTables _tables;
    private readonly ushort[] _codes;
    private readonly int[] _places;
    private readonly Half[] _corrections;

    /// <param name="weight">The weight.</param>
    /// <param name="layout">Its layout on the device.</param>
    /// <param name="tables">What its records share.</param>
    public CodebookRecordPacker(CodebookWeight weight, WeightLayout layout, CodebookTables tables)
    {
        (_weight, _layout, _tables) = (weight, layout, tables);
        _codes = new ushort[weight.Format.VectorsPerRow(weight.Inputs)];
        _places = new int[_codes.Length];
        for (var j = 0; j < _places.Length; j++) _places[j] = layout.IsDecoded ? j * Rows * layout.Books!.CodeBytes : layout.Books!.CodeAt(j);
        _corrections = new Half[Rows * layout.CorrectionSteps * 16];
    }

    /// <inheritdoc/>
    public void Pack(int firstRow, Span<byte> record)
    {
        record.Clear();
        Array.Clear(_corrections);
        var rowCount = Math.Min(Rows, _weight.Outputs - firstRow);
        var rest = record[(_layout.IsDecoded ? _layout.Books!.PackedCodeBytes : _layout.CorrectionsAt)..];
        var scales = MemoryMarshal.Cast<byte, float>(rest[(_layout.ScalesAt - _layout.CorrectionsAt)..]);
        _weight.Bias?.AsSpan(firstRow, rowCount).CopyTo(MemoryMarshal.Cast<byte, float>(rest[(_layout.BiasAt - _layout.CorrectionsAt)..]));
        for (var row = 0; row < rowCount; row++)
        {
            var source = firstRow + row;
            var rowBytes = _weight.Format.RowBytes(_weight.Inputs);
            BitPacking.Unpack(_weight.Codes.Slice(source * rowBytes, rowBytes), _weight.Format.CodeBits, 0, _codes);
            WriteCodes(row, record);
            var scale = _weight.RowScale(source);
            if (!_layout.Format.IsInteger()) scales[row] = scale;
            else if (_layout.IsDecoded) WriteGroups(source, row, scale * _weight.IntegerScale, scales);
            else WriteGroups(source, row, scale * _weight.IntegerScale / IntegerUnit, scales);
        }

        Fragments.WriteWords(MemoryMarshal.Cast<Half, uint>(_corrections), _layout.CorrectionSteps, MemoryMarshal.Cast<byte, uint>(rest[..(_layout.ScalesAt - _layout.CorrectionsAt)]));
    }

    private void WriteCodes(int row, Span<byte> record)
    {
        var width = _layout.Books!.CodeBytes;
        var offset = _layout.IsDecoded ? row * width : _layout.Books.RowOffset(row);
        for (var j = 0; j < _codes.Length; j++)
        {
            if (width == 1) record[_places[j] + offset] = (byte)_codes[j];
            else BinaryPrimitives.WriteUInt16LittleEndian(record[(_places[j] + offset)..], _codes[j]);
        }
    }

    /// <summary>Scales and corrections of a row whose codewords are bytes.</summary>
    private void WriteGroups(int source, int row, float scale, Span<float> scales)
    {
        var (grid, d) = (_layout.Grid, _weight.Format.VectorLength);
        if (!_layout.IsDecoded) scales[row] = scale;
        for (var g = 0; g < grid.Count; g++)
        {
            var (length, sum) = (grid.Length(g), 0);
            for (var j = grid.Start(g) / d; j < (grid.Start(g) + length) / d; j++) sum += _tables.SumOf(_weight.VectorOf(_weight.BookOf(source, j), _codes[j]));
            if (_layout.IsDecoded) scales[g * Rows + row] = scale;
            var six = _corrections.AsSpan((row * _layout.CorrectionSteps * 16) + 6 * g, 6);
            var (b, c) = _layout.IsDecoded ? (-length * scale * ZeroPoint, -scale * (sum + length * ZeroPoint)) : (0, -IntegerUnit * sum);
            if (!Fragments.TrySplit(b, six[..3]) || !Fragments.TrySplit(c, six[3..]))
                throw new InvalidFileException(_weight.Name, $"the contribution of a group's zero point is {Math.Min(b, c):g4}; a half holds at most 65504, and the GPU's products read halves");
        }
    }
}
