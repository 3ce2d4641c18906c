using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Decoding;

/// <summary>The decoder of the TAESD family (madebyollin/taesd): a distilled autoencoder, hundreds of times cheaper than the one it stands for.</summary>
/// <remarks>
/// Reads the original's names (an index in a sequence, bare or behind <c>decoder.</c>), diffusers' AutoencoderTiny
/// (<c>decoder.layers.</c>) and those of GGUF files (<c>first_stage_model.decoder.</c>). Latent channels (4, 16, 32), the
/// order of blocks and upsamplings, and the pooling of the newest models come from the tensors. The encoder may be in the file and is
/// not read; any other unknown tensor is refused.
/// </remarks>
public sealed class TinyAutoencoder : LatentDecoder
{
    /// <summary>The latent is squashed into ±3 standard deviations: 3·tanh(x/3).</summary>
    private const float LatentMagnitude = 3;

    /// <summary>PyTorch's default.</summary>
    private const float NormEpsilon = 1e-5f;

    private readonly TinyAutoencoderLayers _layers;

    private TinyAutoencoder(IDiTBackend backend, DecoderLayers source, TinyAutoencoderLayers layers, float scalingFactor)
        : base(backend, source, layers.Plan())
    {
        _layers = layers;
        ScalingFactor = scalingFactor;
    }

    /// <inheritdoc/>
    public override string Description => $"tiny autoencoder, {LatentChannels} latent channels, ×{UpscaleFactor}";

    /// <inheritdoc/>
    public override int LatentChannels => _layers.LatentChannels;

    /// <inheritdoc/>
    public override int ImageChannels => _layers.ImageChannels;

    /// <inheritdoc/>
    public override int UpscaleFactor => 1 << _layers.UpsamplerCount;

    /// <summary>What the model's latents are divided by.</summary>
    internal float ScalingFactor { get; }

    /// <summary>Whether a checkpoint's tensors have the names of a tiny autoencoder.</summary>
    public static bool IsIn(ICheckpoint checkpoint) => TinyAutoencoderNames.Find(checkpoint) is not null;

    /// <summary>Prepares the decoder.</summary>
    /// <param name="checkpoint">Its file; the config.json in its metadata, where there is one, is held against the tensors.</param>
    /// <param name="backend">Where it will run.</param>
    /// <exception cref="InvalidFileException">A tensor is missing, of another shape, not finite, or unknown; or the configuration disagrees.</exception>
    public static TinyAutoencoder Load(ICheckpoint checkpoint, IDiTBackend backend)
    {
        var names = TinyAutoencoderNames.Find(checkpoint)
            ?? throw new InvalidFileException(checkpoint.Path, "no tensors of a tiny autoencoder's decoder");
        var settings = AutoencoderSettings.Read(checkpoint, "AutoencoderTiny");
        var source = new DecoderLayers(checkpoint, backend);
        try
        {
            var layers = new TinyAutoencoderLayers(source, names);
            if (settings.LatentChannels is { } latentChannels && latentChannels != layers.LatentChannels)
                throw AutoencoderSettings.Invalid(checkpoint.Path, $"latent_channels is {latentChannels}, the tensors have {layers.LatentChannels}");
            return new TinyAutoencoder(backend, source, layers, settings.ScalingFactor ?? 1);
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    private protected override float ToNetwork(float value) => LatentMagnitude * (float)Math.Tanh(value / ScalingFactor / LatentMagnitude);

    /// <inheritdoc/>
    private protected override Tensor Run(Tensor latent, WorkTensors work)
    {
        var x = Next(latent, _layers.ConvIn, new ConvolutionOptions(Activation.Relu), work);
        foreach (var layer in _layers.Layers)
        {
            if (layer.Upsampler is { } upsampler) x = Next(x, upsampler, new ConvolutionOptions(UpsamplesInput: true), work);
            else Residual(x, layer, work);
        }

        return Next(x, _layers.ConvOut, default, work);
    }

    /// <summary>The network makes [0, 1].</summary>
    private protected override void Finish(Span<float> pixels)
    {
        foreach (ref var value in pixels) value = 2 * value - 1;
    }

    /// <summary>x = ReLU(x + conv(ReLU(conv(ReLU(conv(x)))))), in place.</summary>
    private void Residual(Tensor x, TinyLayer layer, WorkTensors work)
    {
        if (layer.Pool is { } pool) AddPool(x, pool, work);
        var first = work.Take(x.Shape);
        var second = work.Take(x.Shape);
        Backend.Convolution(x, layer.Block[0], new ConvolutionOptions(Activation.Relu), first);
        Backend.Convolution(first, layer.Block[1], new ConvolutionOptions(Activation.Relu), second);
        Backend.Convolution(second, layer.Block[2], new ConvolutionOptions(Activation.Relu, Residual: x), x);
        work.GiveBack(first);
        work.GiveBack(second);
    }

    private void AddPool(Tensor x, TinyPool pool, WorkTensors work)
    {
        var wide = work.Take(1, x.Shape[1], x.Shape[2], pool.Expand.Outputs);
        Backend.Convolution(x, pool.Expand, default, wide);
        var norm = new GroupNormOptions(TinyAutoencoderLayers.PoolGroupCount, NormEpsilon, Activation.Relu);
        Backend.GroupNorm(wide, pool.Norm.Gamma, pool.Norm.Beta, norm, wide);
        Backend.Convolution(wide, pool.Shrink, new ConvolutionOptions(Residual: x), x);
        work.GiveBack(wide);
    }
}
