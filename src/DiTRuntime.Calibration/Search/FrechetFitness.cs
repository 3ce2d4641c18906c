using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Decoding;
using DiTRuntime.Imaging;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Calibration.Search;

/// <summary>
/// Fréchet distance of a candidate's images to a reference set on a feature extractor, the measure of Q-DiT's published search: images without guidance, all
/// candidates from the same noise.
/// </summary>
public sealed class FrechetFitness : ISearchFitness
{
    /// <summary>Images that are sampled together.</summary>
    private const int BatchSize = 20;

    private readonly CandidateModels _models;
    private readonly IFeatureExtractor _extractor;
    private readonly FeatureStatistics _reference;
    private readonly IImageDecoder _decoder;
    private readonly int _imageCount;
    private readonly SamplingPlan _plan;
    private readonly ulong _seed;

    /// <param name="models">Makes candidates.</param>
    /// <param name="extractor">Images to features.</param>
    /// <param name="reference">Statistics of the same features over the reference set.</param>
    /// <param name="decoder">Latents to pixels, on the candidates' backend.</param>
    /// <param name="imageCount">Images of a candidate; image i is of class i modulo their number.</param>
    /// <param name="steps">DDIM steps of an image.</param>
    /// <param name="seed">Image i starts from the noise of seed + i.</param>
    /// <exception cref="UsageException">Fewer than two images, or steps that do not exist.</exception>
    public FrechetFitness(CandidateModels models, IFeatureExtractor extractor, FeatureStatistics reference, IImageDecoder decoder, int imageCount, int steps, ulong seed)
    {
        if (imageCount < 2) throw new UsageException($"--search-samples {imageCount}: a Fréchet distance needs two images at least");
        _models = models;
        _extractor = extractor;
        _reference = reference;
        _decoder = decoder;
        _imageCount = imageCount;
        _plan = SamplingPlan.Ddim(TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), steps), eta: 0);
        _seed = seed;
        Description = $"Fréchet distance of {imageCount} images of {steps} steps from seed {seed}, {extractor.Description}";
    }

    /// <inheritdoc/>
    public string Description { get; }

    /// <inheritdoc/>
    public double Measure(IReadOnlyDictionary<string, int> groups)
    {
        using var model = _models.Make(groups);
        var config = model.Config;
        var side = config.InputSize * _decoder.UpscaleFactor;
        var images = new List<Image>(_imageCount);
        int[] indices = [.. Enumerable.Range(0, _imageCount)], labels = [.. indices.Select(i => i % config.ClassCount)];
        new DiTPipeline(model, _decoder).Generate(
            indices, labels, new SamplingSettings(_plan, new ImageNoise(_seed), GuidanceScale: 1, GuidedChannels: 0), BatchSize,
            image => images.Add(PixelConversion.ToImage(image.Pixels, side, side, _decoder.ImageChannels)), progress: null, _models.Backend.Cancellation);
        var features = new float[_imageCount * _extractor.FeatureCount];
        _extractor.Extract(images, features, new float[_imageCount * _extractor.SpatialCount], new float[_imageCount * _extractor.ClassCount]);
        return FrechetDistance.Between(_reference, FeatureStatistics.Of(features, _extractor.FeatureCount));
    }
}
