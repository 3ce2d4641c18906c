using System.Text.Json.Nodes;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Vq4Dit;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>How codes are found.</summary>
public enum QuantizeMethod
{
    /// <summary>Every weight to the nearest code of its group's range.</summary>
    Rtn,

    /// <summary>GPTQ (Frantar et al. 2023): each column's rounding error is made up for by the columns after it.</summary>
    Gptq,

    /// <summary>Every vector of weights to the nearest codeword of k-means.</summary>
    KMeans,

    /// <summary>GPTVQ (van Baalen et al. 2024): GPTQ for vectors, with codewords fitted to the inputs.</summary>
    Gptvq,

    /// <summary>VQ4DiT (Deng et al. 2024): assignments and codewords trained without data.</summary>
    Vq4Dit,

    /// <summary>DPQ (Shao et al. 2024): a codebook per position, trained with the diffusion loss.</summary>
    Dpq,
}

/// <summary>What a quantization shall do.</summary>
public sealed record QuantizeSettings
{
    /// <summary>Default number of calibration samples.</summary>
    public const int DefaultSampleCount = 256;

    /// <summary>How codes are found in the blocks.</summary>
    public required QuantizeMethod Method { get; init; }

    /// <summary>The method's name on the command line; "qdit" is GPTQ in the settings of that paper.</summary>
    public required string MethodName { get; init; }

    /// <summary>Bits of a weight in groups: 2, 3, 4, 5, 6 or 8; 0 where there are <see cref="Codebooks"/>.</summary>
    public int WeightBits { get; init; }

    /// <summary>Group size of layers that <see cref="Groups"/> does not name, 0 for whole rows; beside codebooks, of quantized activations alone.</summary>
    public required int GroupSize { get; init; }

    /// <summary>Sizes of the codebooks, for the methods that make such; else null.</summary>
    public CodebookSettings? Codebooks { get; init; }

    /// <summary>Group sizes of single layers, by official name.</summary>
    public IReadOnlyDictionary<string, int> Groups { get; init; } = new Dictionary<string, int>();

    /// <summary>Form of the inputs of qkv, proj, fc1 and fc2; those of adaLN and outside the blocks stay in floating point.</summary>
    public ActivationMode Activations { get; init; } = ActivationMode.Dynamic;

    /// <summary>How ranges of weights are found.</summary>
    public RangeRule Range { get; init; } = RangeRule.MinMax;

    /// <summary>Calibration samples: (latent, timestep, class) triples from the model's own trajectories.</summary>
    public int SampleCount { get; init; } = DefaultSampleCount;

    /// <summary>Seed of the calibration's classes, noise and timesteps.</summary>
    public ulong Seed { get; init; }

    /// <summary>Whether embedders and final layer are packed too, at 8 bits.</summary>
    public bool PackAll { get; init; }

    /// <summary>Which published implementation calibration runs as.</summary>
    public Compatibility Compatibility { get; init; } = Compatibility.Official;

    /// <summary>Whether the model has to be run for it.</summary>
    public bool NeedsCalibration => NeedsInputs || Activations == ActivationMode.Static;

    /// <summary>Whether the codes follow from the layers' inputs.</summary>
    internal bool NeedsInputs => LayerMethod is QuantizeMethod.Gptq or QuantizeMethod.Gptvq;

    /// <summary>Whether codebooks are trained after every layer has been quantized by itself.</summary>
    internal bool Trains => Method is QuantizeMethod.Vq4Dit or QuantizeMethod.Dpq;

    /// <summary>How single layers are quantized, before any training.</summary>
    internal QuantizeMethod LayerMethod => Trains ? Codebooks!.Start : Method;

    /// <summary>The weights' format as people call it: "4 bits", "k256 d4".</summary>
    public string FormatText => Codebooks is { } books ? $"k{books.CodebookSize} d{books.VectorLength}" : $"{WeightBits} bits";

    /// <summary>The format of every layer.</summary>
    /// <exception cref="UsageException">A group size for what is no linear layer of a block, or bits or a group that do not exist.</exception>
    public PackedModelPlan Plan(DiTConfig config)
    {
        if (Codebooks is not null) return CodebookPlan(config, Codebooks);
        var uniform = PackedModelPlan.Uniform(config, new GroupFormat(WeightBits, GroupSize), Activations, PackAll);
        var formats = uniform.Formats.ToDictionary(StringComparer.Ordinal);
        foreach (var (layer, group) in Groups)
        {
            if (!formats.TryGetValue(layer, out var format) || !layer.StartsWith("blocks.", StringComparison.Ordinal))
                throw new UsageException($"--groups names {layer}, which is no linear layer of the model's {config.Depth} blocks");
            formats[layer] = format with { Weights = new GroupFormat(WeightBits, group) };
        }

        var plan = uniform with { Formats = formats };
        plan.Check();
        return plan;
    }

    /// <summary>The record of the method that goes into the file: all that the codes follow from, and nothing else.</summary>
    public string MethodJson()
    {
        var json = new JsonObject { ["method"] = MethodName };
        if (Codebooks is null) json["wbits"] = WeightBits;
        else Codebooks.Write(json, Trains);
        if (Method == QuantizeMethod.Vq4Dit) Vq4DitSchedule.For(Codebooks!).Write(json);
        json["abits"] = Activations == ActivationMode.Float ? 16 : ActivationFormat.Bits;
        json["activations"] = Activations.ToString().ToLowerInvariant();
        if (Codebooks is null || Activations != ActivationMode.Float) json["group"] = GroupSize;
        if (Codebooks is null) json["range"] = Range == RangeRule.MinMax ? "minmax" : "mse";
        if (NeedsCalibration || Codebooks is not null) json["seed"] = Seed;
        if (NeedsCalibration || Trains)
        {
            json["samples"] = SampleCount;
            json["steps"] = CalibrationSet.StepCount;
            json["guidance"] = CalibrationSet.GuidanceScale;
            json["compat"] = Compatibility.ToString().ToLowerInvariant();
        }

        if (NeedsInputs) json["damping"] = Gptq.DampingRatio;
        json["tool"] = $"DiTRuntime {typeof(QuantizeSettings).Assembly.GetName().Version?.ToString(3)}";
        return json.ToJsonString();
    }

    private PackedModelPlan CodebookPlan(DiTConfig config, CodebookSettings books)
    {
        var formats = new Dictionary<string, LayerFormat>(StringComparer.Ordinal);
        foreach (var layer in DiTLayout.Layers(config))
            if (books.FormatOf(layer, Activations, GroupSize, PackAll) is { } format) formats[layer.Name] = format;
        var plan = new PackedModelPlan(config, formats);
        plan.Check();
        return plan;
    }
}
