using DiTRuntime.Sampling;

namespace DiTRuntime.Cli.Generation;

/// <summary>Passes another source's noise on and keeps the initial latents, so that they can be saved.</summary>
internal sealed class RecordingNoise(NoiseSource source) : NoiseSource
{
    private readonly List<float[]> _latents = [];

    /// <summary>Per image of the run so far: the latent [C·S·S] it started from.</summary>
    public IReadOnlyList<float[]> Latents => _latents;

    /// <inheritdoc/>
    public override void BeginBatch(ReadOnlySpan<int> images, Span<float> latents)
    {
        source.BeginBatch(images, latents);
        var length = latents.Length / images.Length;
        for (var i = 0; i < images.Length; i++) _latents.Add(latents.Slice(i * length, length).ToArray());
    }

    /// <inheritdoc/>
    public override void FillStep(in SamplingStep current, Span<float> noise) => source.FillStep(current, noise);
}
