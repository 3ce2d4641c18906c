namespace DiTRuntime.Models;

/// <summary>Which published implementation the forward pass agrees with.</summary>
public enum Compatibility
{
    /// <summary>facebookresearch/DiT: wᵢ = 10000^(−i/128), both norms ε 1e-6, guidance on three channels.</summary>
    Official,

    /// <summary>diffusers: wᵢ = 10000^(−i/127), second norm ε 1e-5, guidance on all channels.</summary>
    Diffusers,
}

/// <summary>The architecture of one DiT: everything the shapes follow from.</summary>
public sealed record DiTConfig
{
    /// <summary>Width of the timestep's features in every published model.</summary>
    public const int PublishedFrequencySize = 256;

    /// <summary>S: side of the latent (image side / 8 with an autoencoder).</summary>
    public required int InputSize { get; init; }

    /// <summary>p: side of a patch.</summary>
    public required int PatchSize { get; init; }

    /// <summary>C: channels of the latent.</summary>
    public required int InChannels { get; init; }

    /// <summary>Channels of the prediction: C, or 2C when the variance is learned.</summary>
    public required int OutChannels { get; init; }

    /// <summary>H: width of a token.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Number of blocks.</summary>
    public required int Depth { get; init; }

    /// <summary>Number of attention heads; divides H.</summary>
    public required int HeadCount { get; init; }

    /// <summary>Width of the MLP's hidden layer, 4H in the published models.</summary>
    public required int MlpSize { get; init; }

    /// <summary>Number of classes, without the null class.</summary>
    public required int ClassCount { get; init; }

    /// <summary>Width of the timestep's sinusoidal features.</summary>
    public int FrequencySize { get; init; } = PublishedFrequencySize;

    /// <summary>The label that stands for "no class": the last row of the label table.</summary>
    public int NullClass => ClassCount;

    /// <summary>Whether the prediction carries the variance fraction.</summary>
    public bool LearnsVariance => OutChannels == 2 * InChannels;

    /// <summary>T: tokens per sample.</summary>
    public int TokenCount => InputSize / PatchSize * (InputSize / PatchSize);

    /// <summary>D: width of a head.</summary>
    public int HeadSize => HiddenSize / HeadCount;

    /// <summary>Values of one latent.</summary>
    public int LatentCount => InChannels * InputSize * InputSize;
}
