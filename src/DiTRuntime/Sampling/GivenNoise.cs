namespace DiTRuntime.Sampling;

/// <summary>Latents that are given, with the noise of the steps from another source or given as well.</summary>
/// <remarks>
/// The other source begins its batches as if its own latents were used, so that an image made from latents that were
/// saved from it comes out the same.
/// </remarks>
public sealed class GivenNoise : NoiseSource
{
    private readonly ReadOnlyMemory<float> _latents;
    private readonly ReadOnlyMemory<float> _steps;
    private readonly NoiseSource? _stepSource;
    private int[] _images = [];
    private int _imageCount;
    private int _step;

    /// <param name="latents">[images of the run, C, S, S].</param>
    /// <param name="steps">Source of the steps' noise.</param>
    public GivenNoise(ReadOnlyMemory<float> latents, NoiseSource steps)
    {
        _latents = latents;
        _stepSource = steps;
    }

    /// <param name="latents">[images of the run, C, S, S].</param>
    /// <param name="steps">[steps, images of the run, C, S, S], the first step first.</param>
    public GivenNoise(ReadOnlyMemory<float> latents, ReadOnlyMemory<float> steps)
    {
        _latents = latents;
        _steps = steps;
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">An image lies outside the given latents.</exception>
    public override void BeginBatch(ReadOnlySpan<int> images, Span<float> latents)
    {
        _stepSource?.BeginBatch(images, latents);
        if (_images.Length < images.Length) _images = new int[images.Length];
        images.CopyTo(_images);
        _imageCount = images.Length;
        _step = 0;
        Gather(_latents.Span, latents);
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">There is no noise for as many steps.</exception>
    public override void FillStep(in SamplingStep current, Span<float> noise)
    {
        if (_stepSource is not null)
        {
            _stepSource.FillStep(current, noise);
            return;
        }

        var given = _steps.Span;
        var start = (long)_step++ * _latents.Length;
        if (!current.Update.NeedsNoise) return;
        if (start + _latents.Length > given.Length) throw new ArgumentException($"no noise was given for step {_step}");
        Gather(given.Slice((int)start, _latents.Length), noise);
    }

    private void Gather(ReadOnlySpan<float> given, Span<float> destination)
    {
        var length = ImageLength(_imageCount, destination.Length);
        for (var i = 0; i < _imageCount; i++)
        {
            if ((_images[i] + 1L) * length > given.Length)
                throw new ArgumentException($"image {_images[i]}: only {given.Length / length} latents were given");
            given.Slice(_images[i] * length, length).CopyTo(destination.Slice(i * length, length));
        }
    }
}
