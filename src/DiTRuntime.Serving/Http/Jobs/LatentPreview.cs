using DiTRuntime.Imaging;
using DiTRuntime.Models;

namespace DiTRuntime.Serving.Http;

/// <summary>A latent as a small image, one pixel for each of its positions, without a decoder.</summary>
internal static class LatentPreview
{
    /// <summary>Red, green and blue of each latent channel: the published linear fit to the autoencoder of Stable Diffusion 1, whose latents these models make.</summary>
    private static readonly float[,] s_autoencoder =
    {
        { 0.298f, 0.207f, 0.208f },
        { 0.187f, 0.286f, 0.173f },
        { -0.158f, 0.189f, 0.264f },
        { -0.184f, -0.271f, -0.473f },
    };

    /// <summary>A PNG of the latent's side; null where nothing is known of how its channels look.</summary>
    /// <param name="latent">[C, S, S].</param>
    /// <param name="config">The model.</param>
    public static byte[]? Encode(ReadOnlySpan<float> latent, DiTConfig config)
    {
        var (side, area) = (config.InputSize, config.InputSize * config.InputSize);
        var channels = ModelSource.IsPixelSpace(config) ? config.InChannels : 3;
        if (channels != config.InChannels && config.InChannels != s_autoencoder.GetLength(0)) return null;
        var values = new float[area * channels];
        for (var i = 0; i < area; i++)
            for (var c = 0; c < channels; c++)
                values[i * channels + c] = channels == config.InChannels ? latent[c * area + i] : Mixed(latent[i..], area, c);

        using var file = new MemoryStream();
        ImageCodecs.ForPath(ImageFormats.ExtensionOf(ImageFormats.Default)).Encode(PixelConversion.ToImage(values, side, side, channels), null, ".png", file);
        return file.ToArray();
    }

    private static float Mixed(ReadOnlySpan<float> position, int area, int color)
    {
        var sum = 0f;
        for (var c = 0; c < s_autoencoder.GetLength(0); c++) sum += position[c * area] * s_autoencoder[c, color];
        return sum;
    }
}
