using System.Numerics;
using System.Text.Json;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>
/// Format of a weight whose rows are cut into vectors of d neighbouring inputs, each stored as the number of its nearest codeword: w = s_row · C[book][code].
/// </summary>
/// <remarks>
/// Vector quantization has one codebook for all rows (VQ4DiT, Deng et al. 2024, section 3), or one for each of several equal parts of them (q, k and v). Product quantization
/// has one for each position along the row, shared by all rows (DPQ, Shao et al. 2024, equation 3); its codewords may be numbers into one pool.
/// </remarks>
/// <param name="CodebookSize">k: codewords of a codebook, 2 to 65,536.</param>
/// <param name="VectorLength">d: weights of a vector, 2 to 8; divides K.</param>
public sealed record CodebookFormat(int CodebookSize, int VectorLength) : WeightFormat
{
    /// <summary>Bounds of k.</summary>
    public const int MinCodebookSize = 2, MaxCodebookSize = 65_536;

    /// <summary>Bounds of d.</summary>
    public const int MinVectorLength = 2, MaxVectorLength = 8;

    private const string CodebookKind = "codebook", ProductKind = "product";

    /// <summary>Equal parts of the rows that have a codebook each; 1 for product quantization.</summary>
    public int Parts { get; init; } = 1;

    /// <summary>Whether every position along the row has a codebook of its own.</summary>
    public bool IsProduct { get; init; }

    /// <summary>P: vectors of the pool that the codebooks' entries are taken from; 0 where they are stored themselves. Product quantization only.</summary>
    public int PoolSize { get; init; }

    /// <summary>Whether every row has a scale.</summary>
    public bool HasRowScales { get; init; }

    /// <inheritdoc/>
    public override string Kind => IsProduct ? ProductKind : CodebookKind;

    /// <summary>Bits of a code: 1 to 16.</summary>
    public override int CodeBits => BitOperations.Log2((uint)CodebookSize - 1) + 1;

    /// <inheritdoc/>
    internal override string Granularity => $"{(IsProduct ? "pq " : "")}k{CodebookSize} d{VectorLength}";

    /// <inheritdoc/>
    internal override string WeightBits => (CodeBits / (double)VectorLength).ToString("0.##", System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>Vectors of a row.</summary>
    public int VectorsPerRow(int inputs) => inputs / VectorLength;

    /// <summary>Bytes of a row's codes; every row begins at a byte.</summary>
    public int RowBytes(int inputs) => BitPacking.ByteCount(VectorsPerRow(inputs), CodeBits);

    /// <summary>Codebooks of a layer.</summary>
    public int BookCount(int inputs) => IsProduct ? VectorsPerRow(inputs) : Parts;

    /// <summary>Type of the numbers into the pool.</summary>
    public ElementType TableType => PoolSize > 1 << 16 ? ElementType.U32 : ElementType.U16;

    /// <summary>Whether a layer's codebooks take fewer bytes as numbers into a pool of so many vectors.</summary>
    public bool PoolIsSmaller(int inputs, int poolSize)
    {
        var entries = (long)BookCount(inputs) * CodebookSize;
        var pooled = entries * (this with { PoolSize = poolSize }).TableType.ByteSize() + 2L * poolSize * VectorLength;
        return pooled < 2 * entries * VectorLength;
    }

    /// <inheritdoc/>
    internal override IEnumerable<TensorDescription> Tensors(string name, int outputs, int inputs)
    {
        yield return new(name + PackedTensors.Codes, ElementType.U8, [outputs, RowBytes(inputs)]);
        if (PoolSize == 0)
        {
            yield return new(name + PackedTensors.Codebook, ElementType.F16, [BookCount(inputs), CodebookSize, VectorLength]);
        }
        else
        {
            yield return new(name + PackedTensors.Table, TableType, [BookCount(inputs), CodebookSize]);
            yield return new(name + PackedTensors.Pool, ElementType.F16, [PoolSize, VectorLength]);
        }

        if (HasRowScales) yield return new(name + PackedTensors.Scales, ElementType.F16, [outputs]);
    }

    /// <inheritdoc/>
    internal override void Write(Utf8JsonWriter json, int inputs)
    {
        json.WriteNumber("k", CodebookSize);
        json.WriteNumber("d", VectorLength);
        if (IsProduct) json.WriteNumber("pool", PoolSize);
        else json.WriteNumber("parts", Parts);
        json.WriteBoolean("scale", HasRowScales);
    }

    /// <inheritdoc/>
    internal override string? Problem(int outputs, int inputs) =>
        CodebookSize is < MinCodebookSize or > MaxCodebookSize ? $"k {CodebookSize}; {MinCodebookSize} to {MaxCodebookSize} codewords were expected"
        : VectorLength is < MinVectorLength or > MaxVectorLength ? $"d {VectorLength}; {MinVectorLength} to {MaxVectorLength} were expected"
        : inputs % VectorLength != 0 ? $"d {VectorLength} does not divide the {inputs} columns"
        : Parts < 1 || outputs % Parts != 0 ? $"{Parts} parts do not divide the {outputs} rows"
        : PoolSize < 0 || (long)PoolSize > (long)BookCount(inputs) * CodebookSize ? $"a pool of {PoolSize} vectors for {(long)BookCount(inputs) * CodebookSize} codewords"
        : null;
}
