using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Decoding;

namespace DiTRuntime.Models;

/// <summary>Finds and opens a model and its decoder by path; messages name the command's flags.</summary>
public static class ModelSource
{
    /// <summary>Image side over latent side of every published autoencoder for these models.</summary>
    private const int LatentFactor = 8;

    /// <summary>The digit model that lies beside the program.</summary>
    public static string BuiltIn => Path.Combine(AppContext.BaseDirectory, "models", "digits.safetensors");

    /// <summary>What images and reports call a model: its file's or folder's name.</summary>
    public static string NameOf(string path)
    {
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        return Directory.Exists(full) ? Path.GetFileName(full) : Path.GetFileNameWithoutExtension(full);
    }

    /// <summary>Opens a DiT; the weights stay in the mapped file, or in a copy of it.</summary>
    /// <param name="path">File or folder.</param>
    /// <param name="heads">Number of heads, where the file does not say it.</param>
    /// <param name="imageSize">Side of the images in pixels, where it is not the model's own.</param>
    /// <param name="copies">Whether a packed file is copied, see <see cref="DiTLoadOptions.CopiesPackedFile"/>.</param>
    /// <exception cref="InvalidFileException">There is no such file, or it is not understood.</exception>
    /// <exception cref="UsageException">The side does not divide into whole patches.</exception>
    public static DiTWeights Open(string path, int? heads, int? imageSize = null, bool copies = false)
    {
        var options = new DiTLoadOptions { HeadCount = heads, CopiesPackedFile = copies };
        var weights = DiTWeightsLoader.Load(path, options);
        try
        {
            if (imageSize is not { } side) return weights;
            var inputSize = InputSize(side, FactorOf(weights.Config), weights.Config.PatchSize);
            if (inputSize == weights.Config.InputSize) return weights;
            weights.Dispose();
            return DiTWeightsLoader.Load(path, options with { InputSize = inputSize });
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>Side of the latent for a side of the image in pixels.</summary>
    /// <param name="imageSize">Side of the image.</param>
    /// <param name="factor">Image side over latent side.</param>
    /// <param name="patchSize">Side of a patch of the latent.</param>
    /// <exception cref="UsageException">It does not divide into whole patches.</exception>
    public static int InputSize(int imageSize, int factor = LatentFactor, int patchSize = 1) =>
        imageSize > 0 && imageSize % (factor * patchSize) == 0
            ? imageSize / factor
            : throw new UsageException($"--image-size {imageSize}: expected a positive multiple of {factor * patchSize}");

    /// <summary>Opens the decoder of a model: none for pixels, the one given, or the one in the model's own folder.</summary>
    /// <param name="model">File or folder of the model.</param>
    /// <param name="vae">File or folder of the decoder, or null.</param>
    /// <param name="config">The model's architecture.</param>
    /// <param name="backend">Where it will run.</param>
    /// <exception cref="UsageException">There is none, or it takes other latents than the model makes.</exception>
    public static IImageDecoder OpenDecoder(string model, string? vae, DiTConfig config, IDiTBackend backend)
    {
        if (vae is null && IsPixelSpace(config)) return new PixelDecoder(config.InChannels);
        using var checkpoint = Checkpoint.Open(DecoderPath(model, vae, config), "vae");
        var decoder = ImageDecoders.Create(checkpoint, backend);
        if (decoder.LatentChannels == config.InChannels) return decoder;
        var found = decoder.LatentChannels;
        decoder.Dispose();
        throw new UsageException($"--vae {checkpoint.Path}: it decodes latents of {found} channels; the model makes {config.InChannels}");
    }

    /// <summary>Fingerprint of the decoder of a model; null where it has none.</summary>
    /// <param name="model">File or folder of the model.</param>
    /// <param name="vae">File or folder of the decoder, or null.</param>
    /// <param name="config">The model's architecture.</param>
    /// <exception cref="InvalidFileException">The decoder cannot be opened.</exception>
    public static string? DecoderHash(string model, string? vae, DiTConfig config)
    {
        if (vae is null && (IsPixelSpace(config) || !HasDecoder(model))) return null;
        using var checkpoint = Checkpoint.Open(DecoderPath(model, vae, config), "vae");
        return ContentHash.Of(checkpoint);
    }

    /// <summary>Where the decoder of a model that works on latents lies.</summary>
    /// <param name="model">File or folder of the model.</param>
    /// <param name="vae">File or folder of the decoder, or null.</param>
    /// <param name="config">The model's architecture.</param>
    /// <exception cref="UsageException">Neither the caller nor the model's folder names one.</exception>
    public static string DecoderPath(string model, string? vae, DiTConfig config)
    {
        if (vae is not null) return vae;
        if (HasDecoder(model)) return model;
        throw new UsageException($"{model}: the model makes latents of {config.InChannels} channels; give its decoder with --vae PATH, or take the latents with --latents-only");
    }

    /// <summary>Image side over latent side.</summary>
    public static int FactorOf(DiTConfig config) => IsPixelSpace(config) ? 1 : LatentFactor;

    /// <summary>Whether the model's latents are images: grey or RGB.</summary>
    public static bool IsPixelSpace(DiTConfig config) => config.InChannels is 1 or 3;

    private static bool HasDecoder(string model) => Directory.Exists(Path.Combine(model, "vae"));
}
