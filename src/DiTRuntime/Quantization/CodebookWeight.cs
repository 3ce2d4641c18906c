using System.Buffers.Binary;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>A weight of codes into codebooks: w[n, j·d + i] = s_n · C[book(n, j), code(n, j), i].</summary>
/// <remarks>
/// Where the layer's input is quantized, codebooks are read in 8 bits, so that products are integers: C ≈ t·q with t the largest magnitude of the layer's codewords over 127
/// and q = C/t rounded to the nearest, ties to even. All backends and <see cref="CopyRows"/> agree on that.
/// </remarks>
public sealed class CodebookWeight : LinearWeight
{
    /// <summary>The largest magnitude of an 8-bit codeword's element.</summary>
    public const int MaxInteger = 127;

    private readonly StoredBytes _codes;
    private readonly StoredBytes _vectors;
    private readonly StoredBytes _table;
    private readonly StoredBytes _rowScales;
    private readonly Lazy<float> _integerScale;

    /// <summary>A weight in memory, as a calibrator makes it.</summary>
    /// <param name="name">The layer's name in the official layout.</param>
    /// <param name="outputs">N.</param>
    /// <param name="inputs">K.</param>
    /// <param name="bias">b [N], or null.</param>
    /// <param name="format">Sizes of the codebooks.</param>
    /// <param name="codes">[N, K/d], each below k.</param>
    /// <param name="vectors">The codebooks [books, k, d], or with a pool that [P, d].</param>
    /// <param name="table">Numbers into the pool [books, k], or null without one.</param>
    /// <param name="rowScales">s [N], or null where the format has none.</param>
    /// <param name="activations">How the layer's input is quantized, or null where it is not.</param>
    /// <exception cref="ArgumentException">A length does not fit, a code or a number is too large, a scale is not positive and finite, or a codeword is not finite.</exception>
    public static CodebookWeight Pack(
        string name, int outputs, int inputs, float[]? bias, CodebookFormat format, ReadOnlySpan<ushort> codes, Half[] vectors, ReadOnlySpan<uint> table = default, Half[]? rowScales = null,
        ActivationFormat? activations = null)
    {
        if (format.Problem(outputs, inputs) is { } problem) throw new ArgumentException($"{name}: {problem}", nameof(format));
        var entries = format.BookCount(inputs) * format.CodebookSize;
        if (codes.Length != outputs * format.VectorsPerRow(inputs) || vectors.Length != (format.PoolSize == 0 ? entries : format.PoolSize) * format.VectorLength
            || table.Length != (format.PoolSize == 0 ? 0 : entries) || rowScales?.Length != (format.HasRowScales ? outputs : null))
            throw new ArgumentException($"{name}: {codes.Length} codes, {vectors.Length} values, {table.Length} numbers and {rowScales?.Length ?? 0} scales for [{outputs},{inputs}] {format}");
        foreach (var code in codes)
            if (code >= format.CodebookSize) throw new ArgumentException($"{name}: code {code} of {format.CodebookSize} codewords", nameof(codes));
        foreach (var number in table)
            if (number >= format.PoolSize) throw new ArgumentException($"{name}: number {number} of a pool of {format.PoolSize}", nameof(table));
        if (!Array.TrueForAll(vectors, Half.IsFinite)) throw new ArgumentException($"{name}: a codeword is not finite", nameof(vectors));
        if (rowScales is not null && !Array.TrueForAll(rowScales, scale => scale > Half.Zero && Half.IsFinite(scale))) throw new ArgumentException($"{name}: a scale is not positive and finite", nameof(rowScales));

        var (rowBytes, rowVectors) = (format.RowBytes(inputs), format.VectorsPerRow(inputs));
        var packed = new byte[outputs * rowBytes];
        for (var row = 0; row < outputs; row++) BitPacking.Pack(codes.Slice(row * rowVectors, rowVectors), format.CodeBits, packed.AsSpan(row * rowBytes, rowBytes));
        var numbers = new byte[table.Length * format.TableType.ByteSize()];
        for (var i = 0; i < table.Length; i++)
        {
            if (format.TableType == ElementType.U16) BinaryPrimitives.WriteUInt16LittleEndian(numbers.AsSpan(2 * i), (ushort)table[i]);
            else BinaryPrimitives.WriteUInt32LittleEndian(numbers.AsSpan(4 * i), table[i]);
        }

        return new CodebookWeight(
            name, outputs, inputs, bias is null ? null : StoredFloats.Round(bias), format,
            new(packed), new(MemoryMarshal.AsBytes<Half>(vectors)), new(numbers), new(MemoryMarshal.AsBytes<Half>(rowScales)))
        {
            Activations = activations,
        };
    }

    /// <summary>A weight whose bytes lie in memory or in the mapped file.</summary>
    internal CodebookWeight(
        string name, int outputs, int inputs, float[]? bias, CodebookFormat format, StoredBytes codes, StoredBytes vectors, StoredBytes table, StoredBytes rowScales)
        : base(name, outputs, inputs, bias)
    {
        Format = format;
        (_codes, _vectors, _table, _rowScales) = (codes, vectors, table, rowScales);
        _integerScale = new Lazy<float>(() =>
        {
            var values = new float[Vectors.Length];
            TensorPrimitives.ConvertToSingle(Vectors, values);
            var largest = TensorPrimitives.MaxMagnitude<float>(values);
            return Math.Abs(largest) > 0 ? Math.Abs(largest) / MaxInteger : 1;
        });
    }

    /// <summary>Sizes of the codebooks.</summary>
    public CodebookFormat Format { get; }

    /// <summary>Codes [N, row bytes], packed.</summary>
    public ReadOnlySpan<byte> Codes => _codes.Bytes;

    /// <summary>The codebooks [books, k, d], or with a pool that [P, d].</summary>
    public ReadOnlySpan<Half> Vectors => MemoryMarshal.Cast<byte, Half>(_vectors.Bytes);

    /// <summary>Numbers into the pool [books, k] as they are stored, u16 or u32; empty without one.</summary>
    public ReadOnlySpan<byte> Table => _table.Bytes;

    /// <summary>s [N]; empty where the format has none.</summary>
    public ReadOnlySpan<Half> RowScales => MemoryMarshal.Cast<byte, Half>(_rowScales.Bytes);

    /// <summary>t: what an 8-bit codeword's elements are multiplied by.</summary>
    public float IntegerScale => _integerScale.Value;

    /// <inheritdoc/>
    public override LayerFormat LayerFormat => new(Format, LayerFormat.ModeOf(Activations), Activations?.GroupSize ?? 0);

    /// <summary>The codebook of a vector.</summary>
    /// <param name="row">n.</param>
    /// <param name="position">j.</param>
    public int BookOf(int row, int position) => Format.IsProduct ? position : row / (Outputs / Format.Parts);

    /// <summary>s of a row; 1 where the format has none.</summary>
    public float RowScale(int row) => Format.HasRowScales ? (float)RowScales[row] : 1;

    /// <summary>A codeword's place in <see cref="Vectors"/>, counted in vectors.</summary>
    /// <param name="book">Codebook.</param>
    /// <param name="code">Codeword.</param>
    public int VectorOf(int book, int code)
    {
        var entry = book * Format.CodebookSize + code;
        return Format.PoolSize == 0 ? entry
            : Format.TableType == ElementType.U16 ? BinaryPrimitives.ReadUInt16LittleEndian(Table[(2 * entry)..])
            : (int)BinaryPrimitives.ReadUInt32LittleEndian(Table[(4 * entry)..]);
    }

    /// <summary>Copies a codebook.</summary>
    /// <param name="book">Which.</param>
    /// <param name="destination">[k, d].</param>
    public void CopyBook(int book, Span<Half> destination)
    {
        var d = Format.VectorLength;
        if (Format.PoolSize == 0) Vectors.Slice(book * Format.CodebookSize * d, Format.CodebookSize * d).CopyTo(destination);
        else for (var c = 0; c < Format.CodebookSize; c++) Vectors.Slice(VectorOf(book, c) * d, d).CopyTo(destination[(c * d)..]);
    }

    /// <summary>An element of a codeword in 8 bits: q = C/t, rounded to the nearest, ties to even.</summary>
    public sbyte ToInteger(Half value) => (sbyte)MathF.Round((float)value / IntegerScale);

    /// <inheritdoc/>
    public override void CopyRows(int firstRow, int rowCount, Span<float> destination)
    {
        var (d, vectors, rowBytes) = (Format.VectorLength, Format.VectorsPerRow(Inputs), Format.RowBytes(Inputs));
        var codes = new ushort[vectors];
        var halves = new Half[Inputs];
        for (var row = firstRow; row < firstRow + rowCount; row++)
        {
            BitPacking.Unpack(Codes.Slice(row * rowBytes, rowBytes), Format.CodeBits, 0, codes);
            for (var j = 0; j < vectors; j++) Vectors.Slice(VectorOf(BookOf(row, j), codes[j]) * d, d).CopyTo(halves.AsSpan(j * d));
            var target = destination.Slice((row - firstRow) * Inputs, Inputs);
            if (Activations is null) TensorPrimitives.ConvertToSingle(halves, target);
            else for (var i = 0; i < target.Length; i++) target[i] = IntegerScale * ToInteger(halves[i]);
            if (Format.HasRowScales) TensorPrimitives.Multiply(target, RowScale(row), target);
        }
    }

    /// <summary>The same weight with its bytes in memory, so that the file can be closed.</summary>
    internal CodebookWeight ToMemory() =>
        new(Name, Outputs, Inputs, Bias, Format, _codes.ToMemory(), _vectors.ToMemory(), _table.ToMemory(), _rowScales.ToMemory()) { Activations = Activations };

    /// <summary>The bytes of one of the weight's tensors, by suffix.</summary>
    internal ReadOnlySpan<byte> BytesOf(string suffix) => suffix switch
    {
        PackedTensors.Codes => _codes.Bytes,
        PackedTensors.Codebook or PackedTensors.Pool => _vectors.Bytes,
        PackedTensors.Table => _table.Bytes,
        PackedTensors.Scales => _rowScales.Bytes,
        _ => throw new ArgumentException($"{Name}{suffix} is no tensor of a codebook weight", nameof(suffix)),
    };
}
