using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Decoding;

/// <summary>The decoder half of the autoencoder of latent diffusion (Rombach et al. 2022): sd-vae-ft-mse, sd-vae-ft-ema and their kin.</summary>
/// <remarks>
/// Reads the tensors under diffusers' names (<c>to_q</c> or the older <c>query</c>) and CompVis' (<c>decoder.mid.attn_1.q</c>, with
/// or without <c>first_stage_model.</c>). The number of levels, of blocks in each, and every width come from the tensors. The encoder
/// and the other parts of a whole checkpoint may be in the file and are not read; any other unknown tensor is refused.
/// </remarks>
public sealed class AutoencoderKl : LatentDecoder
{
    /// <summary>The latents' standard deviation is 1/0.18215 in the published autoencoders, whose first configurations leave the factor out.</summary>
    private const float PublishedScalingFactor = 0.18215f;

    private const float NormEpsilon = 1e-6f;

    private readonly AutoencoderKlLayers _layers;

    private AutoencoderKl(IDiTBackend backend, DecoderLayers source, AutoencoderKlLayers layers, AutoencoderSettings settings)
        : base(backend, source, layers.Plan())
    {
        _layers = layers;
        ScalingFactor = settings.ScalingFactor ?? PublishedScalingFactor;
        ShiftFactor = settings.ShiftFactor ?? 0;
    }

    /// <inheritdoc/>
    public override string Description => $"AutoencoderKL, {LatentChannels} latent channels, ×{UpscaleFactor}";

    /// <inheritdoc/>
    public override int LatentChannels => _layers.LatentChannels;

    /// <inheritdoc/>
    public override int ImageChannels => _layers.ImageChannels;

    /// <inheritdoc/>
    public override int UpscaleFactor => 1 << (_layers.Levels.Length - 1);

    /// <summary>What the model's latents are divided by.</summary>
    internal float ScalingFactor { get; }

    /// <summary>What is added to them then.</summary>
    internal float ShiftFactor { get; }

    /// <summary>Whether a checkpoint's tensors have the names of an AutoencoderKL.</summary>
    public static bool IsIn(ICheckpoint checkpoint) => AutoencoderKlNames.Find(checkpoint) is not null;

    /// <summary>Prepares the decoder.</summary>
    /// <param name="checkpoint">Its file; the config.json in its metadata, where there is one, is held against the tensors.</param>
    /// <param name="backend">Where it will run.</param>
    /// <exception cref="InvalidFileException">A tensor is missing, of another shape, not finite, or unknown; or the configuration disagrees.</exception>
    public static AutoencoderKl Load(ICheckpoint checkpoint, IDiTBackend backend)
    {
        var names = AutoencoderKlNames.Find(checkpoint)
            ?? throw new InvalidFileException(checkpoint.Path, "no tensors of an AutoencoderKL's decoder");
        var settings = AutoencoderSettings.Read(checkpoint, "AutoencoderKL");
        var source = new DecoderLayers(checkpoint, backend);
        try
        {
            return new AutoencoderKl(backend, source, new AutoencoderKlLayers(source, names, settings), settings);
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    private protected override float ToNetwork(float value) => value / ScalingFactor + ShiftFactor;

    /// <inheritdoc/>
    private protected override Tensor Run(Tensor latent, WorkTensors work)
    {
        var x = latent;
        if (_layers.PostQuant is { } postQuant) x = Next(x, postQuant, default, work);
        x = Next(x, _layers.ConvIn, default, work);
        x = Residual(x, _layers.MiddleFirst, work);
        Attend(x, _layers.Attention, work);
        x = Residual(x, _layers.MiddleLast, work);
        foreach (var level in _layers.Levels)
        {
            foreach (var block in level.Blocks) x = Residual(x, block, work);
            if (level.Upsampler is { } upsampler) x = Next(x, upsampler, new ConvolutionOptions(UpsamplesInput: true), work);
        }

        Norm(x, _layers.NormOut, Activation.Silu, x);
        return Next(x, _layers.ConvOut, default, work);
    }

    /// <summary>Takes x over: the sum lands in x itself, or in the shortcut's output.</summary>
    private Tensor Residual(Tensor x, ResidualBlock block, WorkTensors work)
    {
        var (height, width) = (x.Shape[1], x.Shape[2]);
        var sum = x;
        var normed = x;
        if (block.Shortcut is { } shortcut)
        {
            // x is done with once the shortcut has read it, so its norm can overwrite it.
            sum = work.Take(1, height, width, shortcut.Outputs);
            Backend.Convolution(x, shortcut, default, sum);
        }
        else
        {
            normed = work.Take(x.Shape);
        }

        Norm(x, block.Norm1, Activation.Silu, normed);
        var hidden = work.Take(1, height, width, block.Conv1.Outputs);
        Backend.Convolution(normed, block.Conv1, default, hidden);
        work.GiveBack(normed);
        Norm(hidden, block.Norm2, Activation.Silu, hidden);
        Backend.Convolution(hidden, block.Conv2, new ConvolutionOptions(Residual: sum), sum);
        work.GiveBack(hidden);
        return sum;
    }

    /// <summary>Adds the attention over all positions to x.</summary>
    private void Attend(Tensor x, AttentionBlock block, WorkTensors work)
    {
        var (positions, channels) = (x.Shape[1] * x.Shape[2], x.Shape[3]);
        var normed = work.Take(x.Shape);
        Norm(x, block.Norm, Activation.None, normed);
        var qkv = work.Take(1, positions, 3 * channels);
        Backend.Linear(normed, block.Qkv, Epilogue.SplitHeads(1), qkv);
        work.GiveBack(normed);
        var attended = work.Take(1, positions, channels);
        Backend.Attention(qkv, 1, attended);
        work.GiveBack(qkv);
        Backend.Linear(attended, block.Output, Epilogue.Residual, x);
        work.GiveBack(attended);
    }

    private void Norm(Tensor x, GroupNormLayer layer, Activation activation, Tensor output) =>
        Backend.GroupNorm(x, layer.Gamma, layer.Beta, new GroupNormOptions(_layers.NormGroupCount, NormEpsilon, activation), output);
}
