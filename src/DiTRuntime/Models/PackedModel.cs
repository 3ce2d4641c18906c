using System.Text.Json;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Models;

/// <summary>The packed model file: its metadata, and reading it. Everything is checked before a layer is handed out.</summary>
public static class PackedModel
{
    /// <summary>The version of the format that is written and read.</summary>
    public const string Version = "1";

    /// <summary>Metadata: the version of the format.</summary>
    public const string FormatKey = "ditruntime.format";

    /// <summary>Metadata: the architecture, a JSON object.</summary>
    public const string ConfigKey = "ditruntime.config";

    /// <summary>Metadata: the entry of every layer, a JSON object.</summary>
    public const string LayersKey = "ditruntime.layers";

    /// <summary>Metadata: how the layers were made, a JSON object.</summary>
    public const string MethodKey = "ditruntime.method";

    /// <summary>Metadata: the <see cref="ContentHash"/> of the model that was packed.</summary>
    public const string SourceKey = "ditruntime.source";

    /// <summary>Metadata: names of classes by number, a JSON object; absent where the data set tells them.</summary>
    public const string LabelsKey = "ditruntime.labels";

    /// <summary>The tensor of positions that no formula gives.</summary>
    internal const string PositionsName = "pos_embed";

    /// <summary>Whether a checkpoint says that it is a packed model.</summary>
    public static bool Recognises(ICheckpoint checkpoint) => checkpoint.Metadata.ContainsKey(FormatKey) || checkpoint.Metadata.ContainsKey(LayersKey);

    /// <summary>Positions that cannot be computed, as a tensor.</summary>
    internal static TensorDescription Positions(DiTConfig config) => new(PositionsName, ElementType.F32, [1, config.TokenCount, config.HiddenSize]);

    /// <summary>Reads a packed model; codes and scales stay in the mapped file.</summary>
    /// <exception cref="InvalidFileException">Anything about the file is wrong; the layer or tensor is named.</exception>
    /// <exception cref="UsageException">The options contradict the file.</exception>
    internal static DiTWeights Read(ICheckpoint checkpoint, DiTLoadOptions options)
    {
        var version = Text(checkpoint, FormatKey);
        if (version != Version)
            throw new InvalidFileException(checkpoint.Path, $"{FormatKey} is {TensorRules.Printable(version)}; this version reads the packed format {Version}");
        var config = PackedConfig.Read(checkpoint, options);
        var formats = ReadFormats(checkpoint, config);
        if (checkpoint.Metadata.ContainsKey(MethodKey)) DiTConfigFacts.ReadObject(checkpoint, MethodKey, _ => { });
        var tensors = new PackedTensors(checkpoint);
        var layers = DiTLayout.Layers(config).ToDictionary(
            layer => layer.Name, layer => tensors.Read(layer.Name, layer.Shape, layer.HasBias, formats[layer.Name]), StringComparer.Ordinal);
        var positions = tensors.TryFind(Positions(config));
        tensors.CheckNoneIsLeft();
        return DiTWeightsLoader.Assemble(checkpoint, config, options, positions, layer => layers[layer.Name], []);
    }

    /// <summary>A fact that a packed file must state.</summary>
    /// <exception cref="InvalidFileException">It does not.</exception>
    internal static string Text(ICheckpoint checkpoint, string key) =>
        checkpoint.Metadata.TryGetValue(key, out var text) ? text : throw new InvalidFileException(checkpoint.Path, $"a packed model without {key} in its metadata");

    private static Dictionary<string, LayerFormat> ReadFormats(ICheckpoint checkpoint, DiTConfig config)
    {
        Text(checkpoint, LayersKey);
        var formats = new Dictionary<string, LayerFormat>(StringComparer.Ordinal);
        DiTConfigFacts.ReadObject(checkpoint, LayersKey, root =>
        {
            foreach (var layer in DiTLayout.Layers(config))
            {
                if (!root.TryGetProperty(layer.Name, out var entry)) throw new InvalidFileException(checkpoint.Path, $"{LayersKey} has no entry for the layer {layer.Name}");
                formats[layer.Name] = ReadFormat(checkpoint, layer, entry);
            }

            foreach (var property in root.EnumerateObject())
                if (!formats.ContainsKey(property.Name))
                    throw new InvalidFileException(checkpoint.Path, $"{LayersKey} has an entry for {TensorRules.Printable(property.Name)}, which is no layer of a DiT of depth {config.Depth}");
        });
        return formats;
    }

    private static LayerFormat ReadFormat(ICheckpoint checkpoint, DiTLayer layer, JsonElement entry)
    {
        var format = LayerFormat.Read(entry, layer.Shape[0], layer.Inputs, checkpoint.Path, layer.Name);
        return format.Activations == ActivationMode.Float || layer.ReadsTokens
            ? format
            : throw new InvalidFileException(checkpoint.Path, $"layer {layer.Name}: abits {ActivationFormat.Bits}; 16 was expected, only attention and MLP layers read quantized inputs");
    }
}
