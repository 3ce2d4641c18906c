using System.Text.Json;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>In what form a linear layer reads its input.</summary>
public enum ActivationMode
{
    /// <summary>Floating point (A16).</summary>
    Float,

    /// <summary>u8, a range per token and group found at run time (A8).</summary>
    Dynamic,

    /// <summary>u8, a range per group fixed in the file (A8).</summary>
    Static,
}

/// <summary>How a packed file stores a linear layer: an entry of its <c>ditruntime.layers</c>.</summary>
/// <remarks>The groups of quantized activations are those of a group-quantized weight: an integer sum over a group has one scale. Codebooks have one scale, so groups are free.</remarks>
/// <param name="Weights">Form of the weight, or null for a floating-point one.</param>
/// <param name="Activations">Form of the input; floating point where the weight is.</param>
/// <param name="CodebookGroup">Group size of quantized activations beside a codebook weight, a multiple of d, or 0 for the row; 0 beside all others.</param>
public sealed record LayerFormat(WeightFormat? Weights, ActivationMode Activations = ActivationMode.Float, int CodebookGroup = 0)
{
    private const string DenseName = "dense";

    /// <summary>A floating-point weight.</summary>
    public static LayerFormat Dense { get; } = new((WeightFormat?)null);

    /// <summary>The name of a format in a file.</summary>
    internal string Kind => Weights?.Kind ?? DenseName;

    /// <summary>Group size of quantized activations.</summary>
    public int ActivationGroup => Weights is GroupFormat groups ? groups.GroupSize : CodebookGroup;

    /// <summary>The format of dynamic activations; null where there are none.</summary>
    public ActivationFormat? DynamicActivations => Activations == ActivationMode.Dynamic ? new ActivationFormat(ActivationGroup) : null;

    /// <summary>Form in which a layer reads its input.</summary>
    public static ActivationMode ModeOf(ActivationFormat? activations) =>
        activations is null ? ActivationMode.Float : activations.StaticScales is null ? ActivationMode.Dynamic : ActivationMode.Static;

    /// <summary>What people call it: "w4a8 g128", "w2a16 k256 d4", "dense".</summary>
    public override string ToString() => Weights is null
        ? DenseName
        : $"w{Weights.WeightBits}a{(Activations == ActivationMode.Float ? 16 : ActivationFormat.Bits)} {Weights.Granularity}{(Activations == ActivationMode.Static ? " static" : "")}";

    /// <summary>
    /// The tensors that hold a layer. They come one by one: when a later one is described, the earlier ones have been found in the file, so that
    /// no count of a hostile file overflows.
    /// </summary>
    /// <param name="name">The layer's name.</param>
    /// <param name="shape">Shape of the weight [N, ...]; what follows N counts into K.</param>
    /// <param name="biasType">F16 or F32; null where there is no bias.</param>
    /// <param name="denseType">F16 or F32, for a dense weight.</param>
    public IEnumerable<TensorDescription> Tensors(string name, IReadOnlyList<int> shape, ElementType? biasType, ElementType denseType = ElementType.F16)
    {
        var (outputs, inputs) = (shape[0], shape.Skip(1).Aggregate(1, (a, b) => checked(a * b)));
        if (Weights is null) yield return new(name + PackedTensors.Weight, denseType, shape);
        else foreach (var tensor in Weights.Tensors(name, outputs, inputs)) yield return tensor;
        if (Activations == ActivationMode.Static)
        {
            var groups = new GroupGrid(inputs, ActivationGroup).Count;
            yield return new(name + PackedTensors.ActivationScales, ElementType.F32, [groups]);
            yield return new(name + PackedTensors.ActivationZeros, ElementType.U8, [groups]);
        }

        if (biasType is { } type) yield return new(name + PackedTensors.Bias, type, [outputs]);
    }

    /// <summary>Why no layer [outputs, inputs] can be stored so, or null.</summary>
    internal string? Problem(int outputs, int inputs) =>
        Weights?.Problem(outputs, inputs)
        ?? (Weights is CodebookFormat books && (CodebookGroup < 0 || CodebookGroup % books.VectorLength != 0) ? $"activations in groups of {CodebookGroup}; a multiple of d {books.VectorLength} was expected"
        : Weights is not CodebookFormat && CodebookGroup != 0 ? $"activations in groups of {CodebookGroup} beside a weight that has its own"
        : null);

    /// <summary>Writes the entry as a JSON object.</summary>
    /// <param name="json">Where to.</param>
    /// <param name="inputs">K, from which the length of a shorter last group follows.</param>
    internal void Write(Utf8JsonWriter json, int inputs)
    {
        json.WriteStartObject();
        json.WriteString("format", Kind);
        if (Weights is not null)
        {
            Weights.Write(json, inputs);
            json.WriteNumber("abits", Activations == ActivationMode.Float ? 16 : ActivationFormat.Bits);
            if (Activations != ActivationMode.Float)
            {
                json.WriteNumber("agroup", ActivationGroup);
                json.WriteBoolean("static", Activations == ActivationMode.Static);
            }
        }

        json.WriteEndObject();
    }

    /// <summary>Reads an entry, and demands that it is complete and holds nothing that this version would have to pass over.</summary>
    /// <param name="entry">The JSON value.</param>
    /// <param name="outputs">N of the layer.</param>
    /// <param name="inputs">K of the layer.</param>
    /// <param name="path">The file, for errors.</param>
    /// <param name="name">The layer, for errors.</param>
    /// <exception cref="InvalidFileException">Anything about the entry is wrong.</exception>
    internal static LayerFormat Read(JsonElement entry, int outputs, int inputs, string path, string name) => new LayerEntryReader(path, name).Read(entry, outputs, inputs);
}
