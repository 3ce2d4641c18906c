using DiTRuntime.Checkpoints;

namespace DiTRuntime.Decoding;

/// <summary>How a file spells the layers of an AutoencoderKL: diffusers (new and old attention names) or CompVis.</summary>
internal abstract class AutoencoderKlNames(string prefix)
{
    /// <summary>CompVis checkpoints of a whole pipeline keep the autoencoder under this name.</summary>
    private const string PipelinePrefix = "first_stage_model.";

    /// <summary>What stands before every name.</summary>
    protected string Prefix { get; } = prefix;

    public string PostQuant => Prefix + "post_quant_conv";

    public string ConvIn => Prefix + "decoder.conv_in";

    public string ConvOut => Prefix + "decoder.conv_out";

    /// <summary>What level names begin with, up to the number.</summary>
    public abstract string Levels { get; }

    public abstract string NormOut { get; }

    public abstract string Shortcut { get; }

    public abstract string AttentionNorm { get; }

    /// <summary>q, k and v.</summary>
    public abstract string[] AttentionInputs { get; }

    public abstract string AttentionOutput { get; }

    /// <summary>The spelling of a checkpoint, or null when it is no AutoencoderKL.</summary>
    public static AutoencoderKlNames? Find(ICheckpoint checkpoint)
    {
        foreach (var prefix in (ReadOnlySpan<string>)["", PipelinePrefix])
        {
            if (Any(checkpoint, prefix + "decoder.mid_block.") || Any(checkpoint, prefix + "decoder.up_blocks."))
                return new Diffusers(prefix, isOld: Any(checkpoint, prefix + "decoder.mid_block.attentions.0.query."));
            if (Any(checkpoint, prefix + "decoder.mid.") || Any(checkpoint, prefix + "decoder.up."))
                return new CompVis(prefix);
        }

        return null;
    }

    /// <summary>What the residual blocks of a level begin with, up to the number.</summary>
    /// <param name="level">0 is the level next to the latent.</param>
    /// <param name="levelCount">Number of levels.</param>
    public abstract string Blocks(int level, int levelCount);

    /// <summary>The convolution after a level's upsampling.</summary>
    public abstract string Upsampler(int level, int levelCount);

    /// <summary>Residual block 0 or 1 of the middle.</summary>
    public abstract string MiddleBlock(int index);

    /// <summary>
    /// Whether a tensor belongs to another part of the model: the encoder and its quantisation layer, the training loss, and,
    /// in the checkpoint of a whole pipeline, everything outside the autoencoder.
    /// </summary>
    public bool IsForeign(string name) =>
        !name.StartsWith(Prefix, StringComparison.Ordinal)
        || name.AsSpan(Prefix.Length) is var rest
            && (rest.StartsWith("encoder.") || rest.StartsWith("quant_conv.") || rest.StartsWith("loss."));

    private static bool Any(ICheckpoint checkpoint, string start) =>
        checkpoint.Tensors.Any(tensor => tensor.Name.StartsWith(start, StringComparison.Ordinal));

    private sealed class Diffusers(string prefix, bool isOld) : AutoencoderKlNames(prefix)
    {
        private string Attention => Prefix + "decoder.mid_block.attentions.0.";

        public override string NormOut => Prefix + "decoder.conv_norm_out";

        public override string Shortcut => "conv_shortcut";

        public override string AttentionNorm => Attention + "group_norm";

        public override string[] AttentionInputs => isOld
            ? [Attention + "query", Attention + "key", Attention + "value"]
            : [Attention + "to_q", Attention + "to_k", Attention + "to_v"];

        public override string AttentionOutput => Attention + (isOld ? "proj_attn" : "to_out.0");

        public override string Levels => Prefix + "decoder.up_blocks.";

        public override string Blocks(int level, int levelCount) => $"{Levels}{level}.resnets.";

        public override string Upsampler(int level, int levelCount) => $"{Levels}{level}.upsamplers.0.conv";

        public override string MiddleBlock(int index) => $"{Prefix}decoder.mid_block.resnets.{index}";
    }

    private sealed class CompVis(string prefix) : AutoencoderKlNames(prefix)
    {
        private string Attention => Prefix + "decoder.mid.attn_1.";

        public override string NormOut => Prefix + "decoder.norm_out";

        public override string Shortcut => "nin_shortcut";

        public override string AttentionNorm => Attention + "norm";

        public override string[] AttentionInputs => [Attention + "q", Attention + "k", Attention + "v"];

        public override string AttentionOutput => Attention + "proj_out";

        public override string Levels => Prefix + "decoder.up.";

        // CompVis numbers the levels from the image's end.
        public override string Blocks(int level, int levelCount) => $"{Levels}{levelCount - 1 - level}.block.";

        public override string Upsampler(int level, int levelCount) => $"{Levels}{levelCount - 1 - level}.upsample.conv";

        public override string MiddleBlock(int index) => $"{Prefix}decoder.mid.block_{index + 1}";
    }
}
