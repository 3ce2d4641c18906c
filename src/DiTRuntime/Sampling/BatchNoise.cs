namespace DiTRuntime.Sampling;

/// <summary>One stream for the whole run, drawn batch by batch as the published scripts draw it.</summary>
/// <remarks>
/// The latents of a batch are one draw. Each step then draws noise for every row the model sees, which with guidance
/// are two per image, the images' own rows first, and also where the noise goes unused. An image therefore
/// depends on the size of the batches before it and of its own.
/// </remarks>
/// <param name="seed">Seed of the stream.</param>
/// <param name="guided">Whether the model sees two rows per image.</param>
public sealed class BatchNoise(ulong seed, bool guided) : NoiseSource
{
    private readonly TorchGenerator _generator = new(seed);
    private float[] _rows = [];

    /// <inheritdoc/>
    public override void BeginBatch(ReadOnlySpan<int> images, Span<float> latents)
    {
        if (guided && _rows.Length < 2 * latents.Length) _rows = new float[2 * latents.Length];
        _generator.Normal(latents);
    }

    /// <inheritdoc/>
    public override void FillStep(in SamplingStep current, Span<float> noise)
    {
        if (!current.DrawsNoise) return;
        if (!guided)
        {
            _generator.Normal(noise);
            return;
        }

        var rows = _rows.AsSpan(0, 2 * noise.Length);
        _generator.Normal(rows);
        rows[..noise.Length].CopyTo(noise);
    }
}
