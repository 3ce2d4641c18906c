using DiTRuntime.Decoding;

namespace DiTRuntime.Models.Scheduling;

/// <summary>Runs many requests on one model, step by step, on a thread of its own. Its own members are safe for any thread.</summary>
/// <remarks>
/// Requests share every step (<see cref="StepChooser"/> says how); each image has the bits it has alone. A step that throws fails the request of the image that
/// caused it, and no other. Nothing that callers wait for is done under the lock, and nothing of theirs runs on the thread.
/// </remarks>
public sealed partial class ImageScheduler : IAsyncDisposable
{
    /// <summary>Tokens of one step from which larger ones gain nothing on a GPU.</summary>
    private const int TokensOnGpu = 4096;

    private readonly object _gate = new();
    private readonly DiTModel _model;
    private readonly IImageDecoder? _decoder;
    private readonly ISchedulerObserver? _observer;
    private readonly RollingBatch _batch;
    private readonly StepCosts _costs;

    /// <summary>Accepted and not ended, in order of acceptance; under the gate.</summary>
    private readonly List<Generation> _open = [];

    private readonly TaskCompletionSource _drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _closed;
    private bool _stops;
    private long _number;
    private int _queued;
    private int _cancelledImages;
    private int _stepSamples;
    private double _samplesPerSecond;

    /// <summary>Takes memory, compiles what the backend compiles, and starts. Where the largest step does not fit into memory, smaller ones are taken.</summary>
    /// <param name="model">The model; used by the scheduler alone from now on.</param>
    /// <param name="decoder">Latents to pixels on the same backend, or null when only latents are wanted.</param>
    /// <param name="options">Its bounds.</param>
    /// <param name="observer">Is told what happens, or null.</param>
    /// <exception cref="DiTException">Not even the smallest step fits into memory (exit code 4), or a kernel does not compile.</exception>
    public ImageScheduler(DiTModel model, IImageDecoder? decoder, SchedulerOptions options, ISchedulerObserver? observer = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxQueue, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxImagesPerRequest, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(options.MaxBatch);
        _model = model;
        _decoder = decoder;
        _observer = observer;
        // A guided image takes two samples.
        var samples = Math.Max(2, options.MaxBatch > 0 ? options.MaxBatch : (model.Backend.RecordsSteps ? TokensOnGpu : SamplingBatch.TokensOnProcessor) / model.Config.TokenCount);
        Options = options with { MaxBatch = samples };
        _costs = new StepCosts(samples);
        _batch = CreateBatch(samples);
        new Thread(Run) { IsBackground = true, Name = "scheduler" }.Start();
    }

    /// <summary>The model's architecture.</summary>
    public DiTConfig Config => _model.Config;

    /// <summary>Its bounds, settled.</summary>
    public SchedulerOptions Options { get; }

    /// <summary>The most steps that an image can have: with guidance half of them.</summary>
    public int MaxSteps => _batch.TableRowCount;

    /// <summary>What it is busy with.</summary>
    public SchedulerLoad Load
    {
        get
        {
            lock (_gate)
            {
                var work = _open.Sum(generation => generation.WorkLeft);
                return new SchedulerLoad(
                    _queued, _open.Count - _queued, Volatile.Read(ref _begun), _stepSamples, _batch.SampleLimit, work == 0 ? 0 : Seconds(work), _samplesPerSecond);
            }
        }
    }

    /// <summary>Accepts a request, or refuses it at once.</summary>
    /// <exception cref="UsageException">It asks for what the model or the bounds do not allow.</exception>
    /// <exception cref="QueueFullException">Too many are waiting; says when to try again.</exception>
    /// <exception cref="SchedulerClosedException">It is draining or closed.</exception>
    public Generation Submit(GenerationRequest request)
    {
        var images = ImagesOf(request);
        lock (_gate)
        {
            if (_closed) throw new SchedulerClosedException();
            // What has begun will have made room after its share of the work.
            if (_queued >= Options.MaxQueue) throw new QueueFullException(TimeSpan.FromSeconds(Math.Clamp(Seconds(_open.Sum(open => open.WorkLeft)) / _open.Count ?? 1, 1, 60)));
            var generation = new Generation(this, _gate, request, images, _number++);
            _open.Add(generation);
            _queued++;
            MoveBehind(generation);
            Monitor.PulseAll(_gate);
            return generation;
        }
    }

    /// <summary>Makes images and waits for them.</summary>
    /// <param name="request">What is wanted.</param>
    /// <param name="progress">Told how far they are, after steps.</param>
    /// <param name="cancellation">Cancels the request.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <inheritdoc cref="Submit"/>
    public async Task<IReadOnlyList<GeneratedImage>> GenerateAsync(GenerationRequest request, IProgress<StepProgress>? progress = null, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        var generation = Submit(request);
        await using var registration = cancellation.Register(() => generation.Cancel()).ConfigureAwait(false);
        try
        {
            var snapshot = generation.Snapshot();
            while (progress is not null && !generation.Completion.IsCompleted)
            {
                progress.Report(new StepProgress(snapshot.StepsDone, snapshot.StepsTotal, snapshot.ImagesDone, request.Labels.Count));
                snapshot = await generation.NextAsync(snapshot.Version, CancellationToken.None).ConfigureAwait(false);
            }

            var images = await generation.Completion.ConfigureAwait(false);
            progress?.Report(new StepProgress(snapshot.StepsTotal, snapshot.StepsTotal, images.Count, images.Count));
            return images;
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellation);
        }
    }

    /// <summary>Accepts nothing more and waits until what was accepted has ended.</summary>
    public Task DrainAsync()
    {
        lock (_gate)
        {
            _closed = true;
            Monitor.PulseAll(_gate);
        }

        return _drained.Task;
    }

    /// <summary>Cancels everything and ends the thread.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            _closed = true;
            _stops = true;
            foreach (var generation in _open.ToArray()) generation.Cancel();
            Monitor.PulseAll(_gate);
        }

        await _ended.Task.ConfigureAwait(false);
    }

    /// <summary>A request ends before its images do. Under the gate.</summary>
    internal void Leave(Generation generation, int cancelledImages)
    {
        _cancelledImages += cancelledImages;
        if (generation.Status == GenerationStatus.Queued) Dequeue(generation);
        _open.Remove(generation);
        Monitor.PulseAll(_gate);
    }

    /// <summary>Requests that wait and go before one that waits. Under the gate.</summary>
    internal int CountBefore(Generation generation)
    {
        var count = 0;
        foreach (var other in _open)
            if (other.Status == GenerationStatus.Queued && generation.GoesAfter(other)) count++;
        return count;
    }

    /// <summary>Expected time until a request is complete: its own work and that of what goes before it. Under the gate.</summary>
    internal double? SecondsLeft(Generation generation)
    {
        var work = generation.WorkLeft;
        foreach (var other in _open)
            if (generation.GoesAfter(other)) work += other.WorkLeft;
        return Seconds(work);
    }

    private double? Seconds(long work) => _samplesPerSecond > 0 ? work / _samplesPerSecond : null;

    /// <summary>One begins or leaves: those that wait behind it move up.</summary>
    private void Dequeue(Generation generation)
    {
        _queued--;
        MoveBehind(generation);
    }

    /// <summary>The positions of those that wait behind one have changed.</summary>
    private void MoveBehind(Generation generation)
    {
        foreach (var other in _open)
            if (other.Status == GenerationStatus.Queued && other.GoesAfter(generation)) other.Change();
    }

    private RollingBatch CreateBatch(int samples)
    {
        while (true)
        {
            try
            {
                return CreateBatchOf(samples);
            }
            catch (Exception e) when (samples > 2 && DiTException.IsOutOfMemory(e))
            {
                samples /= 2;
            }
        }
    }

    private RollingBatch CreateBatchOf(int samples)
    {
        // Small requests that overtake leave large ones waiting in the middle of their images.
        var batch = new RollingBatch(_model, new RollingLimits(4 * samples, samples, Options.ModulationBytes));
        try
        {
            batch.Warm();
            // Else the chooser would not know what larger steps are worth before it has tried them.
            foreach (var (count, time) in batch.TimeSteps()) _costs.Add(count, time.TotalSeconds);
            return batch;
        }
        catch
        {
            batch.Dispose();
            throw;
        }
    }

    private RollingImage[] ImagesOf(GenerationRequest request)
    {
        var count = request.Labels.Count;
        if (count < 1 || count > Options.MaxImagesPerRequest) throw new UsageException($"{count} images: expected 1 to {Options.MaxImagesPerRequest}");
        if (request.Seeds is { } seeds && seeds.Count != count) throw new UsageException($"{seeds.Count} seeds for {count} images");
        var (latents, latentCount) = (request.InitialLatents, Config.LatentCount);
        if (!latents.IsEmpty && latents.Length != (long)count * latentCount) throw new UsageException($"latents of {latents.Length} values: expected {count} times {latentCount}");
        foreach (var value in latents.Span)
            if (!float.IsFinite(value)) throw new UsageException("a latent holds a value that is not a number");

        if (request.Decodes && _decoder is null) throw new UsageException("there is no decoder: only latents can be asked for");
        var plan = request.Sampler.CreatePlan(Config, _model.Compatibility);
        var scale = (float)request.GuidanceScale;
        SamplingCheck.Settings(Config, plan, scale);
        foreach (var label in request.Labels) SamplingCheck.Label(Config, label);
        if (!_model.Compatibility.Guides(scale)) scale = 1;
        var rows = plan.Steps.Length * (scale == 1 ? 1 : 2);
        if (rows > MaxSteps) throw new UsageException($"{plan.Steps.Length} steps need {rows} rows of the modulation table, which has {MaxSteps}");
        var channels = _model.Compatibility.GuidedChannels(Config);
        return [.. request.Labels.Select((label, i) => new RollingImage(
            label, request.SeedOf(i), plan, scale, channels, latents.IsEmpty ? default : latents.Slice(i * latentCount, latentCount)))];
    }
}
