namespace DiTRuntime.Decoding;

/// <summary>The decoder of models that work on pixels: only the layout changes, from channels first to channels last.</summary>
public sealed class PixelDecoder : IImageDecoder
{
    /// <param name="channels">1 (grey) or 3.</param>
    /// <exception cref="UsageException">Another number of channels is not an image: the model needs a decoder.</exception>
    public PixelDecoder(int channels)
    {
        if (channels is not (1 or 3)) throw new UsageException($"the model makes latents of {channels} channels, not images; give its decoder with --vae");
        ImageChannels = channels;
    }

    /// <inheritdoc/>
    public string Description => $"pixels, {ImageChannels} channel{(ImageChannels == 1 ? "" : "s")}";

    /// <inheritdoc/>
    public int LatentChannels => ImageChannels;

    /// <inheritdoc/>
    public int ImageChannels { get; }

    /// <inheritdoc/>
    public int UpscaleFactor => 1;

    /// <inheritdoc/>
    public int TileSide { get; set; } = int.MaxValue;

    /// <inheritdoc/>
    public void Decode(ReadOnlySpan<float> latent, int height, int width, Span<float> pixels)
    {
        var area = height * width;
        if (latent.Length != area * ImageChannels || pixels.Length != latent.Length)
            throw new ArgumentException($"{latent.Length} values in, {pixels.Length} out, expected {ImageChannels}·{height}·{width} of each", nameof(latent));
        for (var c = 0; c < ImageChannels; c++)
            for (var i = 0; i < area; i++) pixels[i * ImageChannels + c] = latent[c * area + i];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // Holds nothing.
    }
}
