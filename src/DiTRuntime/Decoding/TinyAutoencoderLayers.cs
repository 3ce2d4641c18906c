using DiTRuntime.Backends;

namespace DiTRuntime.Decoding;

/// <summary>x + conv(ReLU(GN(conv(x)))), both convolutions 1×1: what the later models do before a block.</summary>
internal sealed record TinyPool(PreparedConvolution Expand, GroupNormLayer Norm, PreparedConvolution Shrink);

/// <summary>Either a residual block of three convolutions, or ×2 and one convolution.</summary>
internal sealed record TinyLayer
{
    public TinyPool? Pool { get; init; }

    /// <summary>The three convolutions of a block; empty for an upsampling.</summary>
    public PreparedConvolution[] Block { get; init; } = [];

    public PreparedConvolution? Upsampler { get; init; }
}

/// <summary>The decoder of a tiny autoencoder, prepared; its structure comes from the tensors.</summary>
internal sealed class TinyAutoencoderLayers
{
    /// <summary>×32: more than any published autoencoder.</summary>
    private const int MostUpsamplers = 5;

    /// <summary>Index 0 is the clamp, 1 the first convolution, 2 its ReLU.</summary>
    private const int FirstConvolution = 1;

    private readonly DecoderLayers _source;
    private readonly TinyAutoencoderNames _names;

    /// <exception cref="InvalidFileException">A tensor is missing, of another shape, not finite, or unknown.</exception>
    public TinyAutoencoderLayers(DecoderLayers source, TinyAutoencoderNames names)
    {
        _source = source;
        _names = names;
        (var channels, LatentChannels) = source.ConvolutionSize(names.Layer(FirstConvolution));
        ConvIn = source.Convolution(names.Layer(FirstConvolution), channels, LatentChannels);

        var last = source.CountNumbered(names.Prefix) - 1 + names.Offset;
        var layers = new List<TinyLayer>();
        for (var index = FirstConvolution + 2; index < last; index++)
        {
            var name = names.Layer(index);
            if (source.HasAny(name + "."))
            {
                layers.Add(Block(name, channels));
                continue;
            }

            // An index without tensors is the upsampling itself; its convolution follows.
            if (++index == last) throw source.Invalid($"tensor {name}.conv.0.weight is missing");
            var outputs = source.ConvolutionSize(names.Layer(index)).Outputs;
            layers.Add(new TinyLayer { Upsampler = source.Convolution(names.Layer(index), outputs, channels, hasBias: false) });
            channels = outputs;
        }

        Layers = [.. layers];
        UpsamplerCount = layers.Count(layer => layer.Upsampler is not null);
        if (UpsamplerCount > MostUpsamplers) throw source.Invalid($"{UpsamplerCount} upsamplings, expected at most {MostUpsamplers}");
        var convOut = names.Layer(Math.Max(last, FirstConvolution + 2));
        ImageChannels = source.ConvolutionSize(convOut).Outputs;
        if (ImageChannels is not (1 or 3)) throw source.Invalid($"{convOut} makes {ImageChannels} channels, expected an image of 1 or 3");
        ConvOut = source.Convolution(convOut, ImageChannels, channels);
        source.RefuseUnknown(names.IsForeign);
    }

    /// <summary>Groups of the norm in a pool, in every published model.</summary>
    public static int PoolGroupCount => 4;

    public int LatentChannels { get; }

    public int ImageChannels { get; }

    public int UpsamplerCount { get; }

    public PreparedConvolution ConvIn { get; }

    public TinyLayer[] Layers { get; }

    public PreparedConvolution ConvOut { get; }

    /// <summary>The activations that a forward pass holds at once.</summary>
    public WorkPlan Plan()
    {
        var plan = new WorkPlan();
        plan.NeedImages(1, LatentChannels, 1);
        plan.NeedImages(1, ConvIn.Outputs, 1);
        var scale = 1;
        foreach (var layer in Layers)
        {
            if (layer.Upsampler is { } upsampler)
            {
                scale *= 2;
                plan.NeedImages(scale, upsampler.Outputs, 1);
            }
            else
            {
                plan.NeedImages(scale, layer.Block[0].Inputs, 3);
                if (layer.Pool is { } pool) plan.NeedImages(scale, pool.Expand.Outputs, 1);
            }
        }

        plan.NeedImages(scale, ImageChannels, 1);
        return plan;
    }

    private TinyLayer Block(string name, int channels) => new()
    {
        Pool = _source.HasAny(name + ".pool.") ? Pool(name + ".pool", channels) : null,
        Block =
        [
            _source.Convolution(name + ".conv.0", channels, channels),
            _source.Convolution(name + ".conv.2", channels, channels),
            _source.Convolution(name + ".conv.4", channels, channels),
        ],
    };

    private TinyPool Pool(string name, int channels)
    {
        var wide = _source.ConvolutionSize(name + ".0").Outputs;
        if (wide % PoolGroupCount != 0) throw _source.Invalid($"{name}.1 has {wide} channels, which do not divide into {PoolGroupCount} groups");
        return new TinyPool(
            _source.Convolution(name + ".0", wide, channels, kernelSize: 1, hasBias: false),
            _source.GroupNorm(name + ".1", wide),
            _source.Convolution(name + ".3", channels, wide, kernelSize: 1, hasBias: false));
    }
}
