using System.Text;
using System.Text.Json;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Models;

/// <summary>Which layers of a DiT a packed file quantizes, and how: names, shapes and sizes, known before any weight is.</summary>
/// <param name="Config">The architecture.</param>
/// <param name="Formats">Layers by official name; those that are absent are stored in floating point.</param>
public sealed record PackedModelPlan(DiTConfig Config, IReadOnlyDictionary<string, LayerFormat> Formats)
{
    /// <summary>Bits of the layers outside the blocks, where they are packed at all.</summary>
    public const int OuterBits = 8;

    /// <summary>The layers to be packed, in the order of the forward pass.</summary>
    public IEnumerable<string> PackedLayers => DiTLayout.Layers(Config).Select(layer => layer.Name).Where(name => FormatOf(name).Weights is not null);

    /// <summary>
    /// One format for every linear layer of the blocks. adaLN stays weight-only: it reads one row per sample, so quantizing its input gains nothing.
    /// </summary>
    /// <param name="config">The architecture.</param>
    /// <param name="weights">Bits and groups.</param>
    /// <param name="activations">Form of the inputs of attention and MLP layers.</param>
    /// <param name="packAll">Whether embedders and final layer are packed too: 8 bits, the same groups, weight-only.</param>
    public static PackedModelPlan Uniform(DiTConfig config, GroupFormat weights, ActivationMode activations = ActivationMode.Float, bool packAll = false)
    {
        var formats = new Dictionary<string, LayerFormat>(StringComparer.Ordinal);
        foreach (var layer in DiTLayout.Layers(config))
        {
            if (layer.IsInBlock) formats[layer.Name] = new LayerFormat(weights, layer.ReadsTokens ? activations : ActivationMode.Float);
            else if (packAll) formats[layer.Name] = new LayerFormat(weights with { Bits = OuterBits });
        }

        return new PackedModelPlan(config, formats);
    }

    /// <summary>How a layer is stored.</summary>
    public LayerFormat FormatOf(string layer) => Formats.GetValueOrDefault(layer, LayerFormat.Dense);

    /// <summary>Every tensor of the file, floating-point ones as F16. Where a value is too large for that, the writer takes F32.</summary>
    public IEnumerable<TensorDescription> Tensors() =>
        DiTLayout.Layers(Config).SelectMany(layer => FormatOf(layer.Name).Tensors(layer.Name, layer.Shape, layer.HasBias ? ElementType.F16 : null));

    /// <summary>The entries of all layers, as JSON.</summary>
    internal string LayersJson()
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            foreach (var layer in DiTLayout.Layers(Config))
            {
                json.WritePropertyName(layer.Name);
                FormatOf(layer.Name).Write(json, layer.Inputs);
            }

            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    /// <summary>What the plan asks for exists.</summary>
    /// <exception cref="UsageException">An unknown layer, bits or a group that do not exist, or a layer that cannot read quantized inputs.</exception>
    internal void Check()
    {
        var layers = DiTLayout.Layers(Config).ToDictionary(layer => layer.Name, StringComparer.Ordinal);
        foreach (var (name, format) in Formats)
        {
            if (!layers.TryGetValue(name, out var layer)) throw new UsageException($"{name} is no layer of a DiT of depth {Config.Depth}");
            if (format.Problem(layer.Shape[0], layer.Inputs) is { } problem) throw new UsageException($"{name}: {problem}");
            if (format.Activations != ActivationMode.Float && (format.Weights is null || !layer.ReadsTokens))
                throw new UsageException($"{name}: its input cannot be quantized; {(layer.ReadsTokens ? "its weight is not" : "only attention and MLP layers have such inputs")}");
        }
    }
}
