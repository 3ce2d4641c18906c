namespace DiTRuntime.Models.Scheduling;

/// <summary>What one caller wants: some images that share a sampler. Image i has the bits that it has alone with its own seed.</summary>
public sealed record GenerationRequest
{
    /// <summary>Guidance where nothing says how much.</summary>
    public const double DefaultGuidanceScale = 4;

    /// <summary>Class of each image; at least one.</summary>
    public required IReadOnlyList<int> Labels { get; init; }

    /// <summary>Seed of image 0; image i is seeded with seed + i, as in <c>dit generate</c>.</summary>
    public ulong Seed { get; init; }

    /// <summary>A seed for each image, in the place of seed + i; null where <see cref="Seed"/> gives them.</summary>
    public IReadOnlyList<ulong>? Seeds { get; init; }

    /// <summary>The sampler.</summary>
    public SamplerOptions Sampler { get; init; } = new();

    /// <summary>s of classifier-free guidance; 1 turns it off.</summary>
    public double GuidanceScale { get; init; } = DefaultGuidanceScale;

    /// <summary>Latents to start from, [images, C, S, S]; empty where the seeds draw them. The noise of the steps is the seed's in both cases.</summary>
    public ReadOnlyMemory<float> InitialLatents { get; init; }

    /// <summary>Whether the latents are decoded into pixels.</summary>
    public bool Decodes { get; init; } = true;

    /// <summary>Seed of an image.</summary>
    public ulong SeedOf(int image) => Seeds?[image] ?? unchecked(Seed + (ulong)image);
}
