namespace DiTRuntime.Exporter.Goldens;

/// <summary>What the exporter's own engine computed, for the exported one to be compared with.</summary>
internal sealed record GoldenVectors
{
    /// <summary>Seed of the first image; the second has the next one.</summary>
    public required ulong Seed { get; init; }

    /// <summary>Classes of the two images.</summary>
    public required int[] Labels { get; init; }

    /// <summary>Steps of the images.</summary>
    public required int Steps { get; init; }

    /// <summary>Timesteps of the pass.</summary>
    public required int[] Timesteps { get; init; }

    /// <summary>Classes of the pass.</summary>
    public required int[] PassLabels { get; init; }

    /// <summary>Every so manyth token of a sample is kept.</summary>
    public required int TokenStride { get; init; }

    /// <summary>[2, C, S, S]: what the pass reads.</summary>
    public required float[] PassLatents { get; init; }

    /// <summary>[stages, 2, kept tokens, H]: the embedding, then the blocks' outputs.</summary>
    public required float[] Stages { get; init; }

    /// <summary>[2, Cout, S, S].</summary>
    public required float[] Prediction { get; init; }

    /// <summary>[2, C, S, S]: the images' latents.</summary>
    public required float[] Latents { get; init; }

    /// <summary>[2, side, side, channels].</summary>
    public required byte[] Pixels { get; init; }
}
