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

    /// <summary>Bits of a weight: 2, 3, 4, 5, 6 or 8.</summary>
    public required int WeightBits { get; init; }

    /// <summary>Group size of layers that <see cref="Groups"/> does not name; 0 for whole rows.</summary>
    public required int GroupSize { get; init; }

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
    public bool NeedsCalibration => Method == QuantizeMethod.Gptq || Activations == ActivationMode.Static;

    /// <summary>Refuses group sizes of layers that the model does not have in its blocks.</summary>
    /// <exception cref="UsageException">A name that is no layer of a block.</exception>
    public void CheckGroups(DiTWeights weights)
    {
        var known = weights.Blocks.SelectMany(BlockLayers.Of).Select(layer => layer.Name).ToHashSet(StringComparer.Ordinal);
        if (Groups.Keys.FirstOrDefault(name => !known.Contains(name)) is { } stranger)
            throw new UsageException($"--groups names {stranger}, which is no linear layer of the model's {weights.Blocks.Count} blocks");
    }
}
