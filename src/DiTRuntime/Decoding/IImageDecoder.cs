namespace DiTRuntime.Decoding;

/// <summary>Turns a latent into an image.</summary>
public interface IImageDecoder : IDisposable
{
    /// <summary>What decodes, for people: "AutoencoderKL, 4 latent channels".</summary>
    string Description { get; }

    /// <summary>C: channels of the latent it takes.</summary>
    int LatentChannels { get; }

    /// <summary>Channels of the image: 3, or 1 for grey pixel-space models.</summary>
    int ImageChannels { get; }

    /// <summary>Image side over latent side: 8 for the published autoencoders, 1 for pixel-space models.</summary>
    int UpscaleFactor { get; }

    /// <summary>Positions of a latent's side that are decoded at once; larger latents are decoded in tiles. Fewer need less memory and more time.</summary>
    int TileSide { get; set; }

    /// <summary>Decodes one latent.</summary>
    /// <param name="latent">[C, height, width] as the DiT produces it (model space).</param>
    /// <param name="height">Rows of the latent.</param>
    /// <param name="width">Columns of the latent.</param>
    /// <param name="pixels">[height·f, width·f, image channels], channels last, nominally in [−1, 1], not clamped.</param>
    void Decode(ReadOnlySpan<float> latent, int height, int width, Span<float> pixels);
}
