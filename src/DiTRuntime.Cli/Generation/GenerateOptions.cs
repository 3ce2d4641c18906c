using DiTRuntime.Models;

namespace DiTRuntime.Cli.Generation;

/// <summary>Which noise the images start from.</summary>
internal enum NoiseKind
{
    /// <summary>One generator per image, seeded with seed + index.</summary>
    Image,

    /// <summary>One stream over all batches, as the published scripts draw it.</summary>
    Batch,
}

/// <summary>What the command line of <c>dit generate</c> says; null where it says nothing.</summary>
internal sealed record GenerateOptions
{
    /// <summary>Model file or folder; the built-in digits when null.</summary>
    public string? Model { get; init; }

    /// <summary>Decoder file or folder.</summary>
    public string? Vae { get; init; }

    /// <summary>Number of heads, where the model's file does not say it.</summary>
    public int? Heads { get; init; }

    /// <summary>Side of the images in pixels, where it is not the model's own.</summary>
    public int? ImageSize { get; init; }

    /// <summary>Which published implementation to agree with.</summary>
    public required Compatibility Compatibility { get; init; }

    /// <summary>Classes by index, name or WordNet id, lists separated by commas.</summary>
    public required IReadOnlyList<string> ClassLabels { get; init; }

    /// <summary>Number of images of the whole run; the labels are repeated in turn.</summary>
    public int? Count { get; init; }

    /// <summary>Images sampled together.</summary>
    public int? Batch { get; init; }

    /// <summary>The most device memory to hold, in millions of bytes.</summary>
    public int? MaxVramMegabytes { get; init; }

    /// <summary>Which part of the run to do, so that it can be ended and gone on with; null does everything at once.</summary>
    public Shard? Shard { get; init; }

    /// <summary>"ddim" or "ddpm".</summary>
    public required string Sampler { get; init; }

    /// <summary>Number of sampling steps.</summary>
    public int? Steps { get; init; }

    /// <summary>Timestep spacing.</summary>
    public string? Spacing { get; init; }

    /// <summary>η of DDIM.</summary>
    public required double Eta { get; init; }

    /// <summary>Guidance scale.</summary>
    public required double CfgScale { get; init; }

    /// <summary>"3" or "all".</summary>
    public string? CfgChannels { get; init; }

    /// <summary>Seed; −1 draws one.</summary>
    public required long Seed { get; init; }

    /// <summary>Where noise comes from.</summary>
    public required NoiseKind Noise { get; init; }

    /// <summary>File with the noise to start from.</summary>
    public string? Latents { get; init; }

    /// <summary>Image file, pattern or folder; with <see cref="LatentsOnly"/> a safetensors file.</summary>
    public string? Out { get; init; }

    /// <summary>Whether to make a sheet of all images as well.</summary>
    public required bool Grid { get; init; }

    /// <summary>Sample file of the ADM evaluation.</summary>
    public string? Npz { get; init; }

    /// <summary>Safetensors file for the latents.</summary>
    public string? SaveLatents { get; init; }

    /// <summary>Whether to stop before the decoder.</summary>
    public required bool LatentsOnly { get; init; }
}
