using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Decoding;

/// <summary>Finds out which decoder a file holds.</summary>
public static class ImageDecoders
{
    /// <summary>Opens a decoder.</summary>
    /// <param name="path">A weight file; a folder with a weight file and its config.json; or a pipeline's folder, whose vae/ is taken.</param>
    /// <param name="backend">Where it will run.</param>
    /// <exception cref="InvalidFileException">The path holds no decoder, or a damaged one.</exception>
    public static IImageDecoder Open(string path, IDiTBackend backend)
    {
        using var checkpoint = Checkpoint.Open(path, "vae");
        return Create(checkpoint, backend);
    }

    /// <summary>Prepares the decoder that an open file holds; the file may be closed afterwards.</summary>
    /// <exception cref="InvalidFileException">The tensors are of no known decoder, or one of them is wrong.</exception>
    public static IImageDecoder Create(ICheckpoint checkpoint, IDiTBackend backend)
    {
        if (AutoencoderKl.IsIn(checkpoint)) return AutoencoderKl.Load(checkpoint, backend);
        if (TinyAutoencoder.IsIn(checkpoint)) return TinyAutoencoder.Load(checkpoint, backend);
        throw new InvalidFileException(checkpoint.Path, "no decoder in it: expected the tensors of an AutoencoderKL or of a tiny autoencoder");
    }
}
