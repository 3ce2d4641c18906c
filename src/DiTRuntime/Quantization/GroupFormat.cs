using System.Text.Json;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>Format of a group-quantized weight.</summary>
/// <param name="Bits">2, 3, 4, 5, 6 or 8.</param>
/// <param name="GroupSize">Values of a row that share a scale and a zero point; 0 for the whole row.</param>
public sealed record GroupFormat(int Bits, int GroupSize) : WeightFormat
{
    /// <summary>The widths that exist.</summary>
    public static ReadOnlySpan<int> AllBits => [2, 3, 4, 5, 6, 8];

    /// <summary>The largest code.</summary>
    public int MaxCode => (1 << Bits) - 1;

    /// <inheritdoc/>
    public override string Kind => "group";

    /// <inheritdoc/>
    public override int CodeBits => Bits;

    /// <inheritdoc/>
    internal override string Granularity => GroupSize == 0 ? "per row" : $"g{GroupSize}";

    /// <inheritdoc/>
    internal override string WeightBits => $"{Bits}";

    /// <summary>The groups of a row.</summary>
    public GroupGrid Grid(int rowLength) => new(rowLength, GroupSize);

    /// <summary>Bytes of a row's codes; every row begins at a byte.</summary>
    public int RowBytes(int rowLength) => BitPacking.ByteCount(rowLength, Bits);

    /// <summary>Bytes of all zero points, packed without gaps over rows and groups.</summary>
    public int ZeroBytes(int rowCount, int rowLength) => BitPacking.ByteCount((long)rowCount * Grid(rowLength).Count, Bits);

    /// <summary>Values of the last group where it is shorter than the others; else 0.</summary>
    internal int Tail(int inputs) => inputs % Grid(inputs).Size;

    /// <inheritdoc/>
    internal override IEnumerable<TensorDescription> Tensors(string name, int outputs, int inputs)
    {
        yield return new(name + PackedTensors.GroupCodes, ElementType.U8, [outputs, RowBytes(inputs)]);
        yield return new(name + PackedTensors.Scales, ElementType.F16, [outputs, Grid(inputs).Count]);
        yield return new(name + PackedTensors.Zeros, ElementType.U8, [ZeroBytes(outputs, inputs)]);
    }

    /// <inheritdoc/>
    internal override void Write(Utf8JsonWriter json, int inputs)
    {
        json.WriteNumber("bits", Bits);
        json.WriteNumber("group", GroupSize);
        if (Tail(inputs) is var tail && tail != 0) json.WriteNumber("tail", tail);
    }

    /// <inheritdoc/>
    internal override string? Problem(int outputs, int inputs) =>
        !AllBits.Contains(Bits) ? $"{Bits} bits; 2, 3, 4, 5, 6 or 8 were expected"
        : GroupSize < 0 ? $"group {GroupSize}; 0 (the whole row) or more was expected"
        : null;
}
