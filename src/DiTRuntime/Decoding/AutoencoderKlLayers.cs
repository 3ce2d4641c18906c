using DiTRuntime.Backends;

namespace DiTRuntime.Decoding;

/// <summary>x + conv2(SiLU(GN(conv1(SiLU(GN(x)))))), x through a 1×1 convolution where the channels change.</summary>
internal sealed record ResidualBlock(
    GroupNormLayer Norm1,
    PreparedConvolution Conv1,
    GroupNormLayer Norm2,
    PreparedConvolution Conv2,
    PreparedConvolution? Shortcut);

/// <summary>x + out(attention(qkv(GN(x)))), one head over all positions.</summary>
internal sealed record AttentionBlock(GroupNormLayer Norm, PreparedLinear Qkv, PreparedLinear Output);

/// <summary>The residual blocks at one resolution, then nearest-neighbour ×2 and a convolution, except at the last.</summary>
internal sealed record DecoderLevel(ResidualBlock[] Blocks, PreparedConvolution? Upsampler);

/// <summary>The decoder of an AutoencoderKL, prepared; its structure comes from the tensors.</summary>
internal sealed class AutoencoderKlLayers
{
    /// <summary>×32: more than any published autoencoder.</summary>
    private const int MostLevels = 6;

    private readonly DecoderLayers _source;
    private readonly AutoencoderKlNames _names;

    /// <exception cref="InvalidFileException">A tensor is missing, of another shape, not finite, or unknown.</exception>
    public AutoencoderKlLayers(DecoderLayers source, AutoencoderKlNames names, AutoencoderSettings settings)
    {
        _source = source;
        _names = names;
        NormGroupCount = settings.NormGroupCount ?? 32;

        var (channels, networkLatent) = source.ConvolutionSize(names.ConvIn);
        LatentChannels = networkLatent;
        if (source.Has(names.PostQuant + ".weight"))
        {
            LatentChannels = source.ConvolutionSize(names.PostQuant).Inputs;
            PostQuant = source.Convolution(names.PostQuant, networkLatent, LatentChannels, kernelSize: 1);
        }

        ConvIn = source.Convolution(names.ConvIn, channels, networkLatent);
        MiddleFirst = Block(names.MiddleBlock(0), channels, channels);
        Attention = new AttentionBlock(
            Norm(names.AttentionNorm, channels),
            source.Linear(names.AttentionInputs, channels, channels),
            source.Linear([names.AttentionOutput], channels, channels));
        MiddleLast = Block(names.MiddleBlock(1), channels, channels);

        Levels = new DecoderLevel[LevelCount()];
        for (var level = 0; level < Levels.Length; level++)
        {
            Levels[level] = Level(level, channels);
            channels = Levels[level].Blocks[^1].Conv2.Outputs;
        }

        NormOut = Norm(names.NormOut, channels);
        ImageChannels = source.ConvolutionSize(names.ConvOut).Outputs;
        if (ImageChannels is not (1 or 3)) throw source.Invalid($"{names.ConvOut} makes {ImageChannels} channels, expected an image of 1 or 3");
        ConvOut = source.Convolution(names.ConvOut, ImageChannels, channels);
        source.RefuseUnknown(names.IsForeign);
        Check(settings);
    }

    public int NormGroupCount { get; }

    /// <summary>Channels of the latent that the DiT makes.</summary>
    public int LatentChannels { get; }

    public int ImageChannels { get; }

    public PreparedConvolution? PostQuant { get; }

    public PreparedConvolution ConvIn { get; }

    public ResidualBlock MiddleFirst { get; }

    public AttentionBlock Attention { get; }

    public ResidualBlock MiddleLast { get; }

    /// <summary>From the latent's resolution to the image's.</summary>
    public DecoderLevel[] Levels { get; }

    public GroupNormLayer NormOut { get; }

    public PreparedConvolution ConvOut { get; }

    /// <summary>The activations that a forward pass holds at once.</summary>
    public WorkPlan Plan()
    {
        var plan = new WorkPlan();
        plan.NeedImages(1, LatentChannels, 1);
        if (PostQuant is not null) plan.NeedImages(1, ConvIn.Inputs, ConvIn.Inputs == LatentChannels ? 2 : 1);
        var channels = ConvIn.Outputs;
        plan.NeedImages(1, channels, 3);
        plan.NeedSequence(3 * channels);
        plan.NeedSequence(channels);
        for (var level = 0; level < Levels.Length; level++)
        {
            var scale = 1 << level;
            foreach (var block in Levels[level].Blocks)
            {
                // The block's input, and two tensors beside it; a shortcut's are of the new width.
                plan.NeedImages(scale, block.Conv1.Inputs, block.Shortcut is null ? 3 : 1);
                plan.NeedImages(scale, block.Conv1.Outputs, block.Shortcut is null ? 3 : 2);
            }

            if (Levels[level].Upsampler is { } upsampler) plan.NeedImages(2 * scale, upsampler.Outputs, 1);
        }

        plan.NeedImages(1 << (Levels.Length - 1), ImageChannels, 1);
        return plan;
    }

    private int LevelCount()
    {
        var count = _source.CountNumbered(_names.Levels);
        if (count > MostLevels) throw _source.Invalid($"{count} levels named {_names.Levels}*, expected at most {MostLevels}");
        // None at all: the first block is then missing, by name.
        return Math.Max(count, 1);
    }

    private DecoderLevel Level(int level, int channels)
    {
        var prefix = _names.Blocks(level, Levels.Length);
        var blocks = new ResidualBlock[Math.Max(_source.CountNumbered(prefix), 1)];
        for (var i = 0; i < blocks.Length; i++)
        {
            var outputs = _source.ConvolutionSize($"{prefix}{i}.conv1").Outputs;
            blocks[i] = Block($"{prefix}{i}", channels, outputs);
            channels = outputs;
        }

        var isLast = level == Levels.Length - 1;
        return new DecoderLevel(blocks, isLast ? null : _source.Convolution(_names.Upsampler(level, Levels.Length), channels, channels));
    }

    private ResidualBlock Block(string name, int inputs, int outputs) => new(
        Norm($"{name}.norm1", inputs),
        _source.Convolution($"{name}.conv1", outputs, inputs),
        Norm($"{name}.norm2", outputs),
        _source.Convolution($"{name}.conv2", outputs, outputs),
        inputs == outputs ? null : _source.Convolution($"{name}.{_names.Shortcut}", outputs, inputs, kernelSize: 1));

    private GroupNormLayer Norm(string name, int channels) => channels % NormGroupCount == 0
        ? _source.GroupNorm(name, channels)
        : throw _source.Invalid($"{name} has {channels} channels, which do not divide into {NormGroupCount} groups");

    /// <summary>The configuration and the tensors tell the same.</summary>
    private void Check(AutoencoderSettings settings)
    {
        if (settings.LatentChannels is { } latentChannels && latentChannels != LatentChannels)
            throw AutoencoderSettings.Invalid(_source.File, $"latent_channels is {latentChannels}, the tensors have {LatentChannels}");
        var widths = Levels.Reverse().Select(level => level.Blocks[^1].Conv2.Outputs);
        if (settings.BlockOutChannels is { } expected && !expected.SequenceEqual(widths))
            throw AutoencoderSettings.Invalid(_source.File, $"block_out_channels is [{string.Join(",", expected)}], the tensors have [{string.Join(",", widths)}]");
    }
}
