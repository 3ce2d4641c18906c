using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>A quantized linear layer as it stands in a file; what calibration makes and the writer takes.</summary>
public sealed class PackedLayer
{
    /// <summary>Metadata of a part file: the layer's name, its entry, N and K.</summary>
    private const string NameKey = "ditruntime.part", EntryKey = "ditruntime.layer", OutputsKey = "ditruntime.outputs", InputsKey = "ditruntime.inputs";

    /// <param name="weight">A <see cref="GroupWeight"/> or <see cref="CodebookWeight"/> in memory; its bias as the file will give it back.</param>
    public PackedLayer(LinearWeight weight)
    {
        if (weight.LayerFormat.Weights is null) throw new ArgumentException($"{weight.Name} is not quantized", nameof(weight));
        Weight = weight;
    }

    /// <summary>The layer as a backend takes it.</summary>
    public LinearWeight Weight { get; }

    /// <summary>Packs codes, scales and zero points.</summary>
    /// <param name="name">The layer's name in the official layout.</param>
    /// <param name="outputs">N.</param>
    /// <param name="inputs">K.</param>
    /// <param name="format">Bits and groups.</param>
    /// <param name="codes">q [N, K], one a byte, each below 2^bits.</param>
    /// <param name="scales">s [N, G], positive and finite.</param>
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
        var packedZeros = PackZeros(format, outputs, inputs, zeros);
        return new PackedLayer(new GroupWeight(name, outputs, inputs, bias.IsEmpty ? null : StoredFloats.Round(bias), format, packed, scales, packedZeros) { Activations = activations });
    }

    /// <summary>Writes the layer alone, so that a long calibration can go on after a break.</summary>
    /// <param name="path">Where to; the file appears whole or not at all.</param>
    /// <exception cref="OutputException">The file cannot be written.</exception>
    public void Save(string path)
    {
        using var entry = new MemoryStream();
        using (var json = new Utf8JsonWriter(entry)) Weight.LayerFormat.Write(json, Weight.Inputs);
        var metadata = new Dictionary<string, string>
        {
            [NameKey] = Weight.Name,
            [EntryKey] = Encoding.UTF8.GetString(entry.ToArray()),
            [OutputsKey] = Weight.Outputs.ToString(CultureInfo.InvariantCulture),
            [InputsKey] = Weight.Inputs.ToString(CultureInfo.InvariantCulture),
        };
        AtomicFile.Write(path, stream => SafetensorsWriter.Write(stream, metadata, [.. Tensors()], WriteTensor));
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <exception cref="InvalidFileException">The file is missing, damaged, or no such part.</exception>
    public static PackedLayer Load(string path)
    {
        using var checkpoint = Checkpoint.Open(path);
        int? Number(string key) => checkpoint.Metadata.TryGetValue(key, out var text) && int.TryParse(text, CultureInfo.InvariantCulture, out var number) && number > 0 ? number : null;
        if (!checkpoint.Metadata.TryGetValue(NameKey, out var name) || !checkpoint.Metadata.TryGetValue(EntryKey, out var entry)
            || Number(OutputsKey) is not { } outputs || Number(InputsKey) is not { } inputs)
            throw new InvalidFileException(path, $"not a part of a packed model: metadata {NameKey}, {EntryKey}, {OutputsKey} and {InputsKey} were expected");
        var format = ReadEntry(entry, outputs, inputs, path, name);
        if (format.Weights is null) throw new InvalidFileException(path, "not a part of a packed model: its layer is not quantized");
        var tensors = new PackedTensors(checkpoint);
        var weight = tensors.Read(name, [outputs, inputs], checkpoint.TryGet(name + PackedTensors.Bias, out _), format);
        tensors.CheckNoneIsLeft();
        return new PackedLayer(weight is GroupWeight group ? group.ToMemory() : ((CodebookWeight)weight).ToMemory());
    }

    /// <summary>The layer's tensors in a packed file.</summary>
    /// <param name="shape">Shape of the weight where it has more than two extents; only the bytes' count depends on it.</param>
    internal IEnumerable<TensorDescription> Tensors(IReadOnlyList<int>? shape = null) =>
        Weight.LayerFormat.Tensors(Weight.Name, shape ?? [Weight.Outputs, Weight.Inputs], Weight.Bias is null ? null : StoredFloats.TypeOf(Weight.Bias));

    /// <summary>Writes the bytes of one of <see cref="Tensors"/>.</summary>
    internal void WriteTensor(TensorDescription tensor, Stream stream)
    {
        var suffix = tensor.Name[Weight.Name.Length..];
        switch (suffix)
        {
            case PackedTensors.Bias:
                StoredFloats.Write(Weight.Bias, tensor.Type, stream);
                break;
            case PackedTensors.ActivationScales:
                stream.Write(MemoryMarshal.AsBytes<float>(Weight.Activations!.StaticScales));
                break;
            case PackedTensors.ActivationZeros:
                stream.Write(Weight.Activations!.StaticZeros);
                break;
            default:
                stream.Write(Weight is GroupWeight group ? BytesOf(group, suffix) : ((CodebookWeight)Weight).BytesOf(suffix));
                break;
        }
    }

    private static ReadOnlySpan<byte> BytesOf(GroupWeight weight, string suffix) => suffix switch
    {
        PackedTensors.GroupCodes => weight.Codes,
        PackedTensors.Scales => MemoryMarshal.AsBytes(weight.Scales),
        PackedTensors.Zeros => PackZeros(weight.Format, weight.Outputs, weight.Inputs, weight.Zeros),
        _ => throw new ArgumentException($"{weight.Name}{suffix} is no tensor of a group weight", nameof(suffix)),
    };

    private static byte[] PackZeros(GroupFormat format, int outputs, int inputs, ReadOnlySpan<byte> zeros)
    {
        var packed = new byte[format.ZeroBytes(outputs, inputs)];
        BitPacking.Pack(zeros, format.Bits, packed);
        return packed;
    }

    private static LayerFormat ReadEntry(string entry, int outputs, int inputs, string path, string name)
    {
        try
        {
            using var json = JsonDocument.Parse(entry);
            return LayerFormat.Read(json.RootElement, outputs, inputs, path, TensorRules.Printable(name));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new InvalidFileException(path, $"{EntryKey} is not valid JSON ({TensorRules.Printable(e.Message)})", e);
        }
    }
}
