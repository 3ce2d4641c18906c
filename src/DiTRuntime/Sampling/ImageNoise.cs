namespace DiTRuntime.Sampling;

/// <summary>
/// One generator per image, seeded with seed + index: an image does not depend on the batch it is made in.
/// </summary>
/// <remarks>An image draws its latent first, then the noise of each step that needs some, in order.</remarks>
/// <param name="seed">Seed of the image with index 0.</param>
public sealed class ImageNoise(ulong seed) : NoiseSource
{
    private TorchGenerator[] _generators = [];
    private int _imageCount;

    /// <inheritdoc/>
    public override void BeginBatch(ReadOnlySpan<int> images, Span<float> latents)
    {
        var length = ImageLength(images.Length, latents.Length);
        _imageCount = images.Length;
        if (_generators.Length < _imageCount)
        {
            var known = _generators.Length;
            Array.Resize(ref _generators, _imageCount);
            for (var i = known; i < _imageCount; i++) _generators[i] = new TorchGenerator(0);
        }

        for (var i = 0; i < _imageCount; i++)
        {
            _generators[i].Reseed(unchecked(seed + (ulong)images[i]));
            _generators[i].Normal(latents.Slice(i * length, length));
        }
    }

    /// <inheritdoc/>
    public override void FillStep(in SamplingStep current, Span<float> noise)
    {
        if (!current.Update.NeedsNoise) return;
        var length = ImageLength(_imageCount, noise.Length);
        for (var i = 0; i < _imageCount; i++) _generators[i].Normal(noise.Slice(i * length, length));
    }
}
