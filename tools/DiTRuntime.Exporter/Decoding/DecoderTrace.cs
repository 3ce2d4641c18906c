using DiTRuntime.Checkpoints;
using DiTRuntime.Decoding;
using DiTRuntime.Exporter.Files;
using DiTRuntime.Models;

namespace DiTRuntime.Exporter.Decoding;

/// <summary>What a decoder does with one tile of a latent, written down. Holds the decoder's file open, in which its weights lie.</summary>
internal sealed class DecoderTrace : IDisposable
{
    private readonly ICheckpoint? _checkpoint;
    private readonly TracingBackend? _trace;

    private DecoderTrace(ICheckpoint? checkpoint, TracingBackend? trace, IImageDecoder decoder)
    {
        _checkpoint = checkpoint;
        _trace = trace;
        (Description, Upscale, ImageChannels) = (decoder.Description, decoder.UpscaleFactor, decoder.ImageChannels);
    }

    /// <summary>What decodes, for people.</summary>
    public string Description { get; }

    /// <summary>Pixels of a latent position's side.</summary>
    public int Upscale { get; }

    /// <summary>Channels of the image.</summary>
    public int ImageChannels { get; }

    /// <summary>Which decoder it is.</summary>
    public FileDecoder Kind { get; private init; }

    /// <summary>Positions of a tile's side.</summary>
    public int TileSide { get; private init; }

    /// <summary>What latents are divided by.</summary>
    public float ScalingFactor { get; private init; } = 1;

    /// <summary>What is added to them then.</summary>
    public float ShiftFactor { get; private init; }

    /// <summary>The operations; none for pixels.</summary>
    public IReadOnlyList<TracedOperation> Operations => _trace?.Operations ?? [];

    /// <summary>The tensors they work in.</summary>
    public IReadOnlyList<TracedTensor> Tensors => _trace?.Tensors ?? [];

    /// <summary>The tensor that takes the latent, channels last, in the network's space.</summary>
    public uint Input => _trace?.Input ?? FileHeader.None;

    /// <summary>The tensor that holds the image in the end.</summary>
    public uint Output => _trace?.Output ?? FileHeader.None;

    /// <summary>Traces the decoder of a model.</summary>
    /// <param name="path">Its file or folder; null for a model that works on pixels.</param>
    /// <param name="config">The model.</param>
    /// <param name="tileSide">Positions of a tile's side at most; null for the decoder's own.</param>
    /// <exception cref="InvalidFileException">There is no decoder in the file, or a damaged one.</exception>
    /// <exception cref="UsageException">It takes other latents than the model makes.</exception>
    public static DecoderTrace Of(string? path, DiTConfig config, int? tileSide = null)
    {
        if (path is null)
        {
            using var pixels = new PixelDecoder(config.InChannels);
            return new DecoderTrace(null, null, pixels) { Kind = FileDecoder.Pixels, TileSide = config.InputSize };
        }

        var checkpoint = Checkpoint.Open(path, "vae");
        try
        {
            var trace = new TracingBackend();
            using var decoder = ImageDecoders.Create(checkpoint, trace);
            if (decoder.LatentChannels != config.InChannels)
                throw new UsageException($"--vae {path}: it decodes latents of {decoder.LatentChannels} channels; the model makes {config.InChannels}");
            var side = Math.Min(config.InputSize, Math.Min(decoder.TileSide, tileSide ?? int.MaxValue));
            decoder.Decode(new float[side * side * config.InChannels], side, side, new float[side * side * decoder.UpscaleFactor * decoder.UpscaleFactor * decoder.ImageChannels]);
            return new DecoderTrace(checkpoint, trace, decoder)
            {
                Kind = decoder is AutoencoderKl ? FileDecoder.Kl : FileDecoder.Tiny,
                TileSide = side,
                ScalingFactor = decoder is AutoencoderKl kl ? kl.ScalingFactor : ((TinyAutoencoder)decoder).ScalingFactor,
                ShiftFactor = decoder is AutoencoderKl shifted ? shifted.ShiftFactor : 0,
            };
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>The tensors as the file has them: [height, width, channels].</summary>
    public FileTensor[] FileTensors() => [.. Tensors.Select(tensor => Describe(tensor.Shape))];

    /// <inheritdoc/>
    public void Dispose() => _checkpoint?.Dispose();

    /// <summary>A sequence of positions is stored as the square tile that it runs over.</summary>
    private static FileTensor Describe(ReadOnlySpan<int> shape)
    {
        if (shape.Length == 4) return new FileTensor { Height = (uint)shape[1], Width = (uint)shape[2], Channels = (uint)shape[3] };
        var side = (uint)Math.Sqrt(shape[1]);
        return new FileTensor { Height = side, Width = (uint)shape[1] / side, Channels = (uint)shape[2] };
    }
}
