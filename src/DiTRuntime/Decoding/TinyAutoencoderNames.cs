using DiTRuntime.Checkpoints;

namespace DiTRuntime.Decoding;

/// <summary>How a file spells the layers of a tiny autoencoder: an index in the original's sequence, behind a prefix.</summary>
/// <param name="Prefix">What stands before the index.</param>
/// <param name="Offset">Subtracted from the index: diffusers does not count the clamp in front.</param>
internal sealed record TinyAutoencoderNames(string Prefix, int Offset)
{
    private static readonly TinyAutoencoderNames[] s_spellings =
    [
        new("decoder.layers.", 1),
        new("first_stage_model.decoder.", 0),
        new("decoder.", 0),
        new("", 0),
    ];

    /// <summary>The spelling of a checkpoint, or null when it is no tiny autoencoder.</summary>
    public static TinyAutoencoderNames? Find(ICheckpoint checkpoint) =>
        Array.Find(s_spellings, spelling => checkpoint.Tensors.Any(tensor => spelling.IsBlock(tensor.Name)));

    /// <summary>A layer by its index in the original's sequence.</summary>
    public string Layer(int index) => $"{Prefix}{index - Offset}";

    /// <summary>Whether a tensor belongs to another part: the encoder, or in a pipeline's file everything else.</summary>
    public bool IsForeign(string name)
    {
        var part = Prefix.IndexOf("decoder.", StringComparison.Ordinal);
        var parent = part < 0 ? "" : Prefix[..part];
        return !name.StartsWith(parent, StringComparison.Ordinal) || name.AsSpan(parent.Length).StartsWith("encoder.");
    }

    /// <summary>Whether the name reads prefix, number, ".conv.".</summary>
    private bool IsBlock(string name)
    {
        if (!name.StartsWith(Prefix, StringComparison.Ordinal)) return false;
        var rest = name.AsSpan(Prefix.Length);
        var digits = rest.IndexOfAnyExceptInRange('0', '9');
        return digits > 0 && rest[digits..].StartsWith(".conv.");
    }
}
