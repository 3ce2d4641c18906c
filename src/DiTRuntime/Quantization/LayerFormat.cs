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
/// <remarks>The groups of quantized activations are those of the weight: an integer sum over a group has one scale.</remarks>
/// <param name="Weights">Bits and groups, or null for a floating-point weight.</param>
/// <param name="Activations">Form of the input; floating point where the weight is.</param>
public sealed record LayerFormat(GroupFormat? Weights, ActivationMode Activations = ActivationMode.Float)
{
    private const string Group = "group";
    private const string DenseName = "dense";

    /// <summary>A floating-point weight.</summary>
    public static LayerFormat Dense { get; } = new((GroupFormat?)null);

    /// <summary>In what form a layer reads its input.</summary>
    public static ActivationMode ModeOf(ActivationFormat? activations) =>
        activations is null ? ActivationMode.Float : activations.StaticScales is null ? ActivationMode.Dynamic : ActivationMode.Static;

    /// <summary>What people call it: "w4a8 g128", "dense".</summary>
    public override string ToString() => Weights is null
        ? "dense"
        : $"w{Weights.Bits}a{(Activations == ActivationMode.Float ? 16 : ActivationFormat.Bits)} {(Weights.GroupSize == 0 ? "per row" : $"g{Weights.GroupSize}")}{(Activations == ActivationMode.Static ? " static" : "")}";

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
        if (Weights is null)
        {
            yield return new(name + PackedTensors.Weight, denseType, shape);
        }
        else
        {
            var groups = Weights.Grid(inputs).Count;
            yield return new(name + PackedTensors.Codes, ElementType.U8, [outputs, Weights.RowBytes(inputs)]);
            yield return new(name + PackedTensors.Scales, ElementType.F16, [outputs, groups]);
            yield return new(name + PackedTensors.Zeros, ElementType.U8, [Weights.ZeroBytes(outputs, inputs)]);
            if (Activations == ActivationMode.Static)
            {
                yield return new(name + PackedTensors.ActivationScales, ElementType.F32, [groups]);
                yield return new(name + PackedTensors.ActivationZeros, ElementType.U8, [groups]);
            }
        }

        if (biasType is { } type) yield return new(name + PackedTensors.Bias, type, [outputs]);
    }

    /// <summary>Writes the entry as a JSON object.</summary>
    /// <param name="json">Where to.</param>
    /// <param name="inputs">K, from which the length of a shorter last group follows.</param>
    internal void Write(Utf8JsonWriter json, int inputs)
    {
        json.WriteStartObject();
        json.WriteString("format", Weights is null ? DenseName : Group);
        if (Weights is not null)
        {
            json.WriteNumber("bits", Weights.Bits);
            json.WriteNumber("group", Weights.GroupSize);
            if (Tail(Weights, inputs) is var tail && tail != 0) json.WriteNumber("tail", tail);
            json.WriteNumber("abits", Activations == ActivationMode.Float ? 16 : ActivationFormat.Bits);
            if (Activations != ActivationMode.Float)
            {
                json.WriteNumber("agroup", Weights.GroupSize);
                json.WriteBoolean("static", Activations == ActivationMode.Static);
            }
        }

        json.WriteEndObject();
    }

    /// <summary>Reads an entry, and demands that it is complete and holds nothing that this version would have to pass over.</summary>
    /// <param name="entry">The JSON value.</param>
    /// <param name="inputs">K of the layer.</param>
    /// <param name="path">The file, for errors.</param>
    /// <param name="name">The layer, for errors.</param>
    /// <exception cref="InvalidFileException">Anything about the entry is wrong.</exception>
    internal static LayerFormat Read(JsonElement entry, int inputs, string path, string name) => new EntryReader(path, name).Read(entry, inputs);

    /// <summary>Values of the last group where it is shorter than the others; else 0.</summary>
    private static int Tail(GroupFormat format, int inputs) => inputs % format.Grid(inputs).Size;

    private sealed class EntryReader(string path, string name)
    {
        private static readonly string[] s_groupKeys = ["format", "bits", "group", "tail", "abits", "agroup", "static"];

        public LayerFormat Read(JsonElement entry, int inputs)
        {
            if (entry.ValueKind != JsonValueKind.Object) throw Wrong("its entry is not a JSON object");
            var kind = entry.TryGetProperty("format", out var text) && text.ValueKind == JsonValueKind.String ? text.GetString()! : throw Wrong("its entry names no format");
            if (kind is not (Group or DenseName)) throw Wrong($"unknown format {TensorRules.Printable(kind)}; {Group} or {DenseName} was expected");
            foreach (var property in entry.EnumerateObject())
                if (property.Name != "format" && (kind == DenseName || !s_groupKeys.Contains(property.Name)))
                    throw Wrong($"unknown property {TensorRules.Printable(property.Name)} of the format {kind}");
            if (kind == DenseName) return Dense;
            var format = new GroupFormat(Number(entry, "bits"), Number(entry, "group"));
            if (!GroupFormat.AllBits.Contains(format.Bits)) throw Wrong($"{format.Bits} bits; 2, 3, 4, 5, 6 or 8 were expected");
            if (format.GroupSize < 0) throw Wrong($"group {format.GroupSize}; 0 (the whole row) or more was expected");
            CheckTail(entry, format, inputs);
            return new LayerFormat(format, Activations(entry, format));
        }

        /// <summary>A group that does not divide is no accident only where the entry says what is left over.</summary>
        private void CheckTail(JsonElement entry, GroupFormat format, int inputs)
        {
            var tail = entry.TryGetProperty("tail", out _) ? Number(entry, "tail") : 0;
            if (Tail(format, inputs) is var left && left != tail)
                throw Wrong($"group {format.GroupSize} does not divide the {inputs} columns: {left} are left over; the entry says {tail}");
        }

        private ActivationMode Activations(JsonElement entry, GroupFormat format)
        {
            var bits = Number(entry, "abits");
            if (bits == 16)
            {
                return entry.TryGetProperty("agroup", out _) || entry.TryGetProperty("static", out _)
                    ? throw Wrong("agroup or static beside abits 16; they belong to quantized activations")
                    : ActivationMode.Float;
            }

            if (bits != ActivationFormat.Bits) throw Wrong($"abits {bits}; {ActivationFormat.Bits} or 16 was expected");
            if (Number(entry, "agroup") is var group && group != format.GroupSize)
                throw Wrong($"agroup {group}; the weight's group {format.GroupSize} was expected");
            if (!entry.TryGetProperty("static", out var isStatic) || isStatic.ValueKind is not (JsonValueKind.True or JsonValueKind.False))
                throw Wrong("no static: true or false was expected");
            return isStatic.GetBoolean() ? ActivationMode.Static : ActivationMode.Dynamic;
        }

        private int Number(JsonElement entry, string key) =>
            entry.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var number)
                ? number
                : throw Wrong($"no {key}: a whole number was expected");

        private InvalidFileException Wrong(string problem) => new(path, $"layer {name}: {problem}");
    }
}
