using System.Text;
using System.Text.Json;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Models;

/// <summary>
/// Writes a packed model: one safetensors file with official names. Layers are asked for one after the other in the order of the forward
/// pass, and each goes to its place in the file at once, so that one of them is in memory at a time.
/// </summary>
public static class PackedModelWriter
{
    /// <summary>Rows of a dense weight that are converted at a time.</summary>
    private const int DenseRows = 256;

    /// <summary>Writes a file.</summary>
    /// <param name="path">Where to; the file appears whole or not at all.</param>
    /// <param name="source">The model that was quantized; what is not packed comes from it.</param>
    /// <param name="plan">Which layers are packed, and how.</param>
    /// <param name="pack">Called once for each of <see cref="PackedModelPlan.PackedLayers"/>, in that order; gives the layer in the plan's format.</param>
    /// <param name="method">How the layers were made: a JSON object, for the record (<c>ditruntime.method</c>).</param>
    /// <param name="progress">Told the fraction of the layers that are written.</param>
    /// <param name="cancellation">Ends the writing; no file is left.</param>
    /// <exception cref="UsageException">The plan asks for what does not exist.</exception>
    /// <exception cref="ArgumentException">A layer is not what the plan says, or the method is not a JSON object.</exception>
    /// <exception cref="InvalidFileException">A weight of the source is not finite.</exception>
    /// <exception cref="OutputException">The file cannot be written.</exception>
    public static void Write(
        string path, DiTWeights source, PackedModelPlan plan, Func<LinearWeight, PackedLayer> pack, string method,
        IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        plan.Check();
        if (plan.Config != source.Config) throw new ArgumentException("the plan was made for another architecture", nameof(plan));
        CheckMethod(method);
        var layers = source.Layers.ToDictionary(layer => layer.Name, StringComparer.Ordinal);
        var positions = StoredPositions(source);
        var tensors = new List<TensorDescription>();
        foreach (var layer in DiTLayout.Layers(plan.Config)) tensors.AddRange(Describe(layer, layers[layer.Name], plan.FormatOf(layer.Name)));
        if (positions is not null) tensors.Add(positions);
        AtomicFile.Write(path, stream =>
        {
            var places = SafetensorsWriter.Reserve(stream, Metadata(source, plan, method), tensors);
            if (positions is not null) places.Write(positions, output => StoredFloats.Write(source.Positions, positions.Type, output));
            var written = 0;
            foreach (var layer in DiTLayout.Layers(plan.Config))
            {
                cancellation.ThrowIfCancellationRequested();
                WriteLayer(places, layer, layers[layer.Name], plan.FormatOf(layer.Name), pack);
                progress?.Report(++written / (double)layers.Count);
            }

            places.CheckComplete();
        });
    }

    private static void WriteLayer(SafetensorsPlaces places, DiTLayer layer, LinearWeight weight, LayerFormat format, Func<LinearWeight, PackedLayer> pack)
    {
        if (format.Weights is null)
        {
            foreach (var tensor in Describe(layer, weight, format))
                places.Write(tensor, stream => WriteDense(weight, tensor, stream));
            return;
        }

        var layerMade = pack(weight);
        var packed = layerMade.Weight;
        if (packed.Name != layer.Name || packed.Outputs != weight.Outputs || packed.Inputs != weight.Inputs || packed.LayerFormat != format || packed.Bias is null == layer.HasBias)
        {
            throw new ArgumentException(
                $"{layer.Name} [{weight.Outputs},{weight.Inputs}] {format} was expected; {packed.Name} [{packed.Outputs},{packed.Inputs}] {packed.LayerFormat} was given", nameof(pack));
        }

        foreach (var tensor in layerMade.Tensors(layer.Shape)) places.Write(tensor, stream => layerMade.WriteTensor(tensor, stream));
    }

    /// <summary>The tensors of a layer, as F16 where that can hold its values.</summary>
    private static IEnumerable<TensorDescription> Describe(DiTLayer layer, LinearWeight weight, LayerFormat format) => format.Tensors(
        layer.Name, layer.Shape, weight.Bias is null ? null : StoredFloats.TypeOf(weight.Bias), format.Weights is null ? DenseType(weight) : ElementType.F16);

    private static ElementType DenseType(LinearWeight weight) =>
        Rows(weight).All(rows => StoredFloats.Fit(rows.Span)) ? ElementType.F16 : ElementType.F32;

    private static void WriteDense(LinearWeight weight, TensorDescription tensor, Stream stream)
    {
        if (tensor.Name.EndsWith(PackedTensors.Bias, StringComparison.Ordinal)) StoredFloats.Write(weight.Bias, tensor.Type, stream);
        else foreach (var rows in Rows(weight)) StoredFloats.Write(rows.Span, tensor.Type, stream);
    }

    /// <summary>A weight, some rows at a time in the same buffer.</summary>
    private static IEnumerable<ReadOnlyMemory<float>> Rows(LinearWeight weight)
    {
        var values = new float[Math.Min(DenseRows, weight.Outputs) * weight.Inputs];
        for (var row = 0; row < weight.Outputs; row += DenseRows)
        {
            var count = Math.Min(DenseRows, weight.Outputs - row);
            weight.CopyRows(row, count, values);
            yield return values.AsMemory(0, count * weight.Inputs);
        }
    }

    /// <summary>The positions as a tensor where they cannot be computed, else null.</summary>
    private static TensorDescription? StoredPositions(DiTWeights source)
    {
        var config = source.Config;
        if (config.HiddenSize % 4 == 0)
        {
            var computed = PositionEmbedding.Compute(config.HiddenSize, config.InputSize / config.PatchSize);
            var tolerance = PositionTolerance(source.Checkpoint);
            if (computed.Zip(source.Positions).All(pair => MathF.Abs(pair.First - pair.Second) <= tolerance)) return null;
        }

        return PackedModel.Positions(config);
    }

    /// <summary>How far the computed positions, which lie in −1 to 1, may be from the ones that a source stores: what rounding to its type does.</summary>
    private static float PositionTolerance(ICheckpoint source) => source.TryGet(PackedModel.PositionsName, out var stored)
        ? stored.Type switch { ElementType.F16 => MathF.ScaleB(1, -11), ElementType.BF16 => MathF.ScaleB(1, -8), _ => 1e-6f }
        : 0;

    private static Dictionary<string, string> Metadata(DiTWeights source, PackedModelPlan plan, string method)
    {
        var metadata = new Dictionary<string, string>
        {
            [PackedModel.FormatKey] = PackedModel.Version,
            [PackedModel.ConfigKey] = DiTConfigFacts.Write(plan.Config),
            [PackedModel.LayersKey] = plan.LayersJson(),
            [PackedModel.MethodKey] = method,
            [PackedModel.SourceKey] = ContentHash.Of(source.Checkpoint),
        };
        if (source.Labels.Count > 0 && source.Labels != ImageNetClasses.Labels) metadata[PackedModel.LabelsKey] = LabelsJson(source.Labels);
        return metadata;
    }

    private static string LabelsJson(ClassLabels labels)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            for (var i = 0; i < labels.Count; i++) json.WriteString($"{i}", labels.NameOf(i));
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    private static void CheckMethod(string method)
    {
        try
        {
            using var json = JsonDocument.Parse(method);
            if (json.RootElement.ValueKind == JsonValueKind.Object) return;
        }
        catch (JsonException e)
        {
            throw new ArgumentException("the method is not JSON", nameof(method), e);
        }

        throw new ArgumentException("the method is not a JSON object", nameof(method));
    }
}
