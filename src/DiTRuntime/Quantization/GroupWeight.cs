using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>A weight of 2 to 8 bits with a scale and a zero point per row and group: w = s(q − Z).</summary>
public sealed class GroupWeight : LinearWeight
{
    private readonly StoredBytes _codes;
    private readonly StoredBytes _scales;

    /// <summary>A weight that stays in the mapped file.</summary>
    /// <param name="name">The layer's name in the official layout.</param>
    /// <param name="outputs">N.</param>
    /// <param name="inputs">K.</param>
    /// <param name="bias">b [N], or null.</param>
    /// <param name="format">Bits and groups.</param>
    /// <param name="codes"><c>qweight</c> U8 [N, ⌈K·bits/8⌉].</param>
    /// <param name="scales"><c>scale</c> F16 [N, G].</param>
    /// <param name="zeros"><c>zero</c> U8, N·G codes packed without gaps.</param>
    public GroupWeight(
        string name, int outputs, int inputs, float[]? bias, GroupFormat format, CheckpointTensor codes, CheckpointTensor scales, CheckpointTensor zeros)
        : this(name, outputs, inputs, bias, format, new(codes), new(scales), zeros.Bytes)
    {
    }

    /// <summary>A weight in memory, as a calibrator makes it.</summary>
    /// <param name="name">The layer's name in the official layout.</param>
    /// <param name="outputs">N.</param>
    /// <param name="inputs">K.</param>
    /// <param name="bias">b [N], or null.</param>
    /// <param name="format">Bits and groups.</param>
    /// <param name="codes">[N, ⌈K·bits/8⌉], packed.</param>
    /// <param name="scales">[N, G].</param>
    /// <param name="zeros">N·G codes packed without gaps.</param>
    public GroupWeight(string name, int outputs, int inputs, float[]? bias, GroupFormat format, byte[] codes, Half[] scales, byte[] zeros)
        : this(name, outputs, inputs, bias, format, new StoredBytes(codes), new StoredBytes(MemoryMarshal.AsBytes<Half>(scales)), zeros)
    {
    }

    private GroupWeight(string name, int outputs, int inputs, float[]? bias, GroupFormat format, StoredBytes codes, StoredBytes scales, ReadOnlySpan<byte> zeros)
        : base(name, outputs, inputs, bias)
    {
        (Format, _codes, _scales) = (format, codes, scales);
        Zeros = new byte[outputs * Grid.Count];
        BitPacking.Unpack(zeros, format.Bits, Zeros);
    }

    /// <summary>Bits and groups.</summary>
    public GroupFormat Format { get; }

    /// <summary>The groups of a row.</summary>
    public GroupGrid Grid => Format.Grid(Inputs);

    /// <summary>q [N, ⌈K·bits/8⌉], packed.</summary>
    public ReadOnlySpan<byte> Codes => _codes.Bytes;

    /// <summary>s [N, G].</summary>
    public ReadOnlySpan<Half> Scales => MemoryMarshal.Cast<byte, Half>(_scales.Bytes);

    /// <summary>Z [N, G], unpacked.</summary>
    public byte[] Zeros { get; }

    /// <inheritdoc/>
    public override LayerFormat LayerFormat => new(Format, LayerFormat.ModeOf(Activations));

    /// <summary>The same weight with its bytes in memory, so that the file can be closed.</summary>
    internal GroupWeight ToMemory()
    {
        var zeros = new byte[Format.ZeroBytes(Outputs, Inputs)];
        BitPacking.Pack(Zeros, Format.Bits, zeros);
        return new(Name, Outputs, Inputs, Bias, Format, _codes.ToMemory(), _scales.ToMemory(), zeros) { Activations = Activations };
    }

    /// <inheritdoc/>
    public override void CopyRows(int firstRow, int rowCount, Span<float> destination)
    {
        var codes = new byte[Inputs];
        for (var row = firstRow; row < firstRow + rowCount; row++)
        {
            BitPacking.Unpack(Codes.Slice(row * Format.RowBytes(Inputs), Format.RowBytes(Inputs)), Format.Bits, codes);
            var target = destination.Slice((row - firstRow) * Inputs, Inputs);
            for (var g = 0; g < Grid.Count; g++)
            {
                var (scale, zero) = ((float)Scales[row * Grid.Count + g], Zeros[row * Grid.Count + g]);
                for (var i = Grid.Start(g); i < Grid.Start(g) + Grid.Length(g); i++) target[i] = scale * (codes[i] - zero);
            }
        }
    }
}
