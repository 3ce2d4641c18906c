using DiTRuntime.Decoding;
using DiTRuntime.Models.Scheduling;

namespace DiTRuntime.Models;

/// <summary>One finished image.</summary>
/// <param name="Index">Its index in the whole run.</param>
/// <param name="Label">Its class.</param>
/// <param name="Latent">[C, S, S], as the sampler left it.</param>
/// <param name="Pixels">[side, side, channels], channels last, nominally in [−1, 1]; null without a decoder.</param>
public sealed record GeneratedImage(int Index, int Label, float[] Latent, float[]? Pixels);

/// <summary>How far a run is.</summary>
/// <param name="Stage">What is being done.</param>
/// <param name="Done">Steps taken (or images decoded) in the whole run.</param>
/// <param name="Total">Steps (or images) of the whole run.</param>
public readonly record struct GenerationProgress(GenerationStage Stage, int Done, int Total);

/// <summary>Stages of a run, alternating batch by batch.</summary>
public enum GenerationStage
{
    /// <summary>Sampling: progress counts steps over all batches.</summary>
    Sampling,

    /// <summary>Decoding: progress counts images.</summary>
    Decoding,
}

/// <summary>Class labels to images: <see cref="Generate"/> makes a long run batch by batch, <see cref="GenerateAsync"/> serves many callers at once.</summary>
/// <param name="model">The model.</param>
/// <param name="decoder">Latents to pixels on the same backend, or null when only latents are wanted.</param>
/// <param name="options">Bounds of what callers may ask for at once, or null for the usual ones.</param>
/// <param name="observer">Is told what happens to requests, or null.</param>
public sealed class DiTPipeline(DiTModel model, IImageDecoder? decoder, SchedulerOptions? options = null, ISchedulerObserver? observer = null) : IAsyncDisposable
{
    private readonly Lazy<ImageScheduler> _scheduler = new(() => new ImageScheduler(model, decoder, options ?? new SchedulerOptions(), observer));

    /// <summary>Runs the requests of <see cref="GenerateAsync"/>; made when first asked for, and has the model for itself from then on.</summary>
    /// <exception cref="DiTException">It does not fit into memory (exit code 4), or a kernel does not compile.</exception>
    public ImageScheduler Scheduler => _scheduler.Value;

    /// <summary>Makes images, together with those of other callers step by step; each has the bits that it has alone.</summary>
    /// <param name="request">What is wanted.</param>
    /// <param name="progress">Told how far they are, after steps.</param>
    /// <param name="cancellation">Cancels the request: its images leave before the next step.</param>
    /// <returns>The images, in the order of the request's labels.</returns>
    /// <exception cref="UsageException">The request asks for what the model or the bounds do not allow.</exception>
    /// <exception cref="QueueFullException">Too many are waiting; says when to try again.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public Task<IReadOnlyList<GeneratedImage>> GenerateAsync(
        GenerationRequest request, IProgress<StepProgress>? progress = null, CancellationToken cancellation = default) => Scheduler.GenerateAsync(request, progress, cancellation);

    /// <summary>Generates images and hands each over as soon as it is finished.</summary>
    /// <param name="images">Index of each image in the whole run; its noise depends on it.</param>
    /// <param name="labels">Class of each image.</param>
    /// <param name="settings">Plan, guidance, noise.</param>
    /// <param name="batchSize">Images sampled together; changes memory and speed, never a bit of an image.</param>
    /// <param name="onImage">Receives the images in order.</param>
    /// <param name="progress">Told after every step and every decoded image.</param>
    /// <param name="cancellation">Ends the run between pieces of work.</param>
    /// <exception cref="UsageException">A label that the model does not have, or guidance that is not a number.</exception>
    /// <exception cref="InvalidOperationException">The scheduler has the model.</exception>
    public void Generate(
        ReadOnlySpan<int> images,
        ReadOnlySpan<int> labels,
        SamplingSettings settings,
        int batchSize,
        Action<GeneratedImage> onImage,
        IProgress<GenerationProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, images.Length);
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        if (_scheduler.IsValueCreated) throw new InvalidOperationException($"the scheduler has the model: use {nameof(GenerateAsync)}");
        foreach (var label in labels) SamplingCheck.Label(model.Config, label);
        SamplingCheck.Settings(model.Config, settings.Plan, settings.GuidanceScale);

        model.Backend.Cancellation = cancellation;
        var steps = settings.Plan.Steps.Length;
        var batchCount = (images.Length + batchSize - 1) / batchSize;
        for (var b = 0; b < batchCount; b++)
        {
            var count = Math.Min(batchSize, images.Length - b * batchSize);
            var batchImages = images.Slice(b * batchSize, count);
            var batchLabels = labels.Slice(b * batchSize, count);
            var latents = new float[count * model.Config.LatentCount];
            using (var batch = new SamplingBatch(model, settings, batchImages, batchLabels))
            {
                for (var s = 0; s < steps; s++)
                {
                    batch.Step();
                    // A GPU may still be at work: the last step is done once its latents are here.
                    if (batch.IsFinished) batch.Read(latents);
                    progress?.Report(new GenerationProgress(GenerationStage.Sampling, b * steps + s + 1, batchCount * steps));
                }
            }

            for (var i = 0; i < count; i++)
            {
                var latent = latents.AsSpan(i * model.Config.LatentCount, model.Config.LatentCount).ToArray();
                onImage(new GeneratedImage(batchImages[i], batchLabels[i], latent, decoder is null ? null : Decode(decoder, model.Config, latent)));
                progress?.Report(new GenerationProgress(GenerationStage.Decoding, b * batchSize + i + 1, images.Length));
            }
        }
    }

    /// <summary>Cancels the requests of <see cref="GenerateAsync"/>. The model and the decoder stay.</summary>
    public ValueTask DisposeAsync() => _scheduler.IsValueCreated ? _scheduler.Value.DisposeAsync() : ValueTask.CompletedTask;

    /// <summary>Pixels of a latent, [side, side, channels].</summary>
    internal static float[] Decode(IImageDecoder decoder, DiTConfig config, ReadOnlySpan<float> latent)
    {
        var side = config.InputSize * decoder.UpscaleFactor;
        var pixels = new float[side * side * decoder.ImageChannels];
        decoder.Decode(latent, config.InputSize, config.InputSize, pixels);
        return pixels;
    }
}
