namespace DiTRuntime.Models;

/// <summary>What the user may say about a checkpoint that it does not say itself.</summary>
public sealed record DiTLoadOptions
{
    /// <summary>Number of attention heads; must agree with the file's configuration where there is one.</summary>
    public int? HeadCount { get; init; }

    /// <summary>S, side of the latent, instead of the file's; other positions are computed.</summary>
    public int? InputSize { get; init; }

    /// <summary>
    /// Whether a packed model, whose weights are used where they lie, is read into memory: then nothing that happens to the file matters once it is loaded. Others are
    /// copied in any case when a model is made of them.
    /// </summary>
    public bool CopiesPackedFile { get; init; }
}
