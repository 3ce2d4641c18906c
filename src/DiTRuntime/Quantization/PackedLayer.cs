using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>A group-quantized linear layer, packed as it stands in a file; what calibration makes and the writer takes.</summary>
public sealed class PackedLayer
{
    /// <summary>Metadata of a part file: the layer's name, its entry and K.</summary>
    private const string NameKey = "ditruntime.part", EntryKey = "ditruntime.layer", InputsKey = "ditruntime.inputs";

    private readonly byte[] _codes;
    private readonly Half[] _scales;
    private readonly byte[] _zeros;

    private PackedLayer(
        string name, int outputs, int inputs, GroupFormat format, byte[] codes, Half[] scales, byte[] zeros, float[]? bias, ActivationFormat? activations)
    {
        (Name, Outputs, Inputs, Format, Bias, Activations) = (name, outputs, inputs, format, bias, activations);
        (_codes, _scales, _zeros) = (codes, scales, zeros);
    }

    /// <summary>The layer's name in the official layout.</summary>
    public string Name { get; }

    /// <summary>N.</summary>
    public int Outputs { get; }

    /// <summary>K.</summary>
    public int Inputs { get; }

    /// <summary>Bits and groups.</summary>
    public GroupFormat Format { get; }

    /// <summary>How the input is quantized; null for floating point.</summary>
    public ActivationFormat? Activations { get; }

    /// <summary>b [N], as the file will give it back: rounded to F16 where that can hold it; null where there is none.</summary>
    public float[]? Bias { get; }

    /// <summary>The layer's entry in a packed file.</summary>
    public LayerFormat LayerFormat => new(Format, LayerFormat.ModeOf(Activations));

    /// <summary>Packs codes, scales and zero points.</summary>
    /// <param name="name">The layer's name in the official layout.</param>
    /// <param name="outputs">N.</param>
    /// <param name="inputs">K.</param>
    /// <param name="format">Bits and groups.</param>
    /// <param name="codes">q [N, K], one a byte, each below 2^bits.</param>
    /// <param name="scales">s [N, G], positive and finite; taken over, not copied.</param>
    /// <param name="zeros">Z [N, G], one a byte.</param>
    /// <param name="bias">b [N], or null.</param>
    /// <param name="activations">How the input is quantized: in the weight's groups, or not at all.</param>
    /// <exception cref="ArgumentException">A length does not fit, a scale is not positive and finite, or the activations have other groups.</exception>
    public static PackedLayer Pack(
        string name, int outputs, int inputs, GroupFormat format, ReadOnlyMemory<byte> codes, Half[] scales, ReadOnlySpan<byte> zeros,
        ReadOnlySpan<float> bias = default, ActivationFormat? activations = null)
    {
        var groupCount = outputs * format.Grid(inputs).Count;
        if (codes.Length != outputs * inputs || scales.Length != groupCount || zeros.Length != groupCount || (bias.Length != 0 && bias.Length != outputs))
            throw new ArgumentException($"{name}: {codes.Length} codes, {scales.Length} scales, {zeros.Length} zero points and {bias.Length} biases for [{outputs},{inputs}] {format}");
        if (Array.Exists(scales, scale => !(scale > Half.Zero && Half.IsFinite(scale)))) throw new ArgumentException($"{name}: a scale is not positive and finite", nameof(scales));
        if (activations is not null && activations.GroupSize != format.GroupSize)
            throw new ArgumentException($"{name}: activations in groups of {activations.GroupSize}, weights of {format.GroupSize}", nameof(activations));
        var rowBytes = format.RowBytes(inputs);
        var packed = new byte[outputs * rowBytes];
        Parallel.For(0, outputs, row => BitPacking.Pack(codes.Span.Slice(row * inputs, inputs), format.Bits, packed.AsSpan(row * rowBytes, rowBytes)));
        var packedZeros = new byte[format.ZeroBytes(outputs, inputs)];
        BitPacking.Pack(zeros, format.Bits, packedZeros);
        return new PackedLayer(name, outputs, inputs, format, packed, scales, packedZeros, bias.IsEmpty ? null : StoredFloats.Round(bias), activations);
    }

    /// <summary>The layer as a backend takes it.</summary>
    public GroupWeight ToWeight() => new(Name, Outputs, Inputs, Bias, Format, _codes, _scales, _zeros) { Activations = Activations };

    /// <summary>Writes the layer alone, so that a long calibration can go on after a break.</summary>
    /// <param name="path">Where to; the file appears whole or not at all.</param>
    /// <exception cref="OutputException">The file cannot be written.</exception>
    public void Save(string path)
    {
        using var entry = new MemoryStream();
        using (var json = new Utf8JsonWriter(entry)) LayerFormat.Write(json, Inputs);
        var metadata = new Dictionary<string, string>
        {
            [NameKey] = Name,
            [EntryKey] = Encoding.UTF8.GetString(entry.ToArray()),
            [InputsKey] = Inputs.ToString(CultureInfo.InvariantCulture),
        };
        AtomicFile.Write(path, stream => SafetensorsWriter.Write(stream, metadata, [.. Tensors()], WriteTensor));
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <exception cref="InvalidFileException">The file is missing, damaged, or no such part.</exception>
    public static PackedLayer Load(string path)
    {
        using var checkpoint = Checkpoint.Open(path);
        if (!checkpoint.Metadata.TryGetValue(NameKey, out var name) || !checkpoint.Metadata.TryGetValue(EntryKey, out var entry)
            || !checkpoint.Metadata.TryGetValue(InputsKey, out var number) || !int.TryParse(number, out var inputs) || inputs < 1)
            throw new InvalidFileException(path, $"not a part of a packed model: metadata {NameKey}, {EntryKey} and {InputsKey} were expected");
        var format = ReadEntry(entry, inputs, path, name);
        if (!checkpoint.TryGet(name + PackedTensors.Codes, out var codes) || codes.Shape.Length != 2 || codes.Shape[0] < 1 || format.Weights is null)
            throw new InvalidFileException(path, $"not a part of a packed model: a tensor {TensorRules.Printable(name)}{PackedTensors.Codes} [N,K·b/8] was expected");
        var tensors = new PackedTensors(checkpoint);
        var weight = (GroupWeight)tensors.Read(name, [codes.Shape[0], inputs], checkpoint.TryGet(name + PackedTensors.Bias, out _), format);
        tensors.CheckNoneIsLeft();
        checkpoint.TryGet(name + PackedTensors.Zeros, out var zeros);
        return new PackedLayer(
            name, weight.Outputs, inputs, format.Weights, weight.Codes.ToArray(), weight.Scales.ToArray(), zeros!.Bytes.ToArray(), weight.Bias, weight.Activations);
    }

    /// <summary>The layer's tensors in a packed file.</summary>
    /// <param name="shape">Shape of the weight where it has more than two extents; only the bytes' count depends on it.</param>
    internal IEnumerable<TensorDescription> Tensors(IReadOnlyList<int>? shape = null) =>
        LayerFormat.Tensors(Name, shape ?? [Outputs, Inputs], Bias is null ? null : StoredFloats.TypeOf(Bias));

    /// <summary>Writes the bytes of one of <see cref="Tensors"/>.</summary>
    internal void WriteTensor(TensorDescription tensor, Stream stream)
    {
        switch (tensor.Name[Name.Length..])
        {
            case PackedTensors.Codes:
                stream.Write(_codes);
                break;
            case PackedTensors.Scales:
                stream.Write(MemoryMarshal.AsBytes<Half>(_scales));
                break;
            case PackedTensors.Zeros:
                stream.Write(_zeros);
                break;
            case PackedTensors.Bias:
                StoredFloats.Write(Bias, tensor.Type, stream);
                break;
            case PackedTensors.ActivationScales:
                stream.Write(MemoryMarshal.AsBytes<float>(Activations!.StaticScales));
                break;
            case PackedTensors.ActivationZeros:
                stream.Write(Activations!.StaticZeros);
                break;
            default:
                throw new ArgumentException($"{tensor.Name} is no tensor of {Name}", nameof(tensor));
        }
    }

    private static LayerFormat ReadEntry(string entry, int inputs, string path, string name)
    {
        try
        {
            using var json = JsonDocument.Parse(entry);
            return LayerFormat.Read(json.RootElement, inputs, path, TensorRules.Printable(name));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new InvalidFileException(path, $"{EntryKey} is not valid JSON ({TensorRules.Printable(e.Message)})", e);
        }
    }
}
