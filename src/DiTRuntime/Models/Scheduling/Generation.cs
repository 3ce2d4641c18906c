using System.Numerics;

namespace DiTRuntime.Models.Scheduling;

/// <summary>A request that was accepted: its progress, its result, and the way to cancel it. Safe for any thread.</summary>
public sealed class Generation
{
    private readonly ImageScheduler _scheduler;
    private readonly object _gate;
    private readonly RollingImage[] _images;
    private readonly GeneratedImage?[] _results;
    private readonly (float[] Latent, int StepsDone)?[] _previews;
    private readonly TaskCompletionSource<IReadOnlyList<GeneratedImage>> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private TaskCompletionSource? _changed;
    private GenerationStatus _status;
    private long _version;
    private int _stepsDone;
    private int _imagesDone;
    private int _previewInterval;

    /// <param name="scheduler">Whose it is.</param>
    /// <param name="gate">Guards what other threads read.</param>
    /// <param name="request">What was asked for.</param>
    /// <param name="images">Its images, none of them begun.</param>
    /// <param name="number">Grows with every request.</param>
    internal Generation(ImageScheduler scheduler, object gate, GenerationRequest request, RollingImage[] images, long number)
    {
        _scheduler = scheduler;
        _gate = gate;
        _images = images;
        _results = new GeneratedImage?[images.Length];
        _previews = new (float[], int)?[images.Length];
        Request = request;
        Number = number;
        StepsTotal = images.Sum(image => image.Plan.Steps.Length);
        SamplesPerImage = images[0].SampleCount;
        SizeClass = BitOperations.Log2((uint)(StepsTotal * SamplesPerImage));
        Created = DateTimeOffset.UtcNow;
        // A failure that nobody waits for is no failure of the process.
        _ = _completion.Task.ContinueWith(static task => _ = task.Exception, TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously);
    }

    /// <summary>What was asked for.</summary>
    public GenerationRequest Request { get; }

    /// <summary>The images in order, decoded where asked for. Faults with what an image failed of; is cancelled when the request was.</summary>
    public Task<IReadOnlyList<GeneratedImage>> Completion => _completion.Task;

    /// <summary>When it was accepted.</summary>
    public DateTimeOffset Created { get; }

    /// <summary>When its first image began, or null.</summary>
    public DateTimeOffset? Started { get; private set; }

    /// <summary>When it ended, however it did, or null.</summary>
    public DateTimeOffset? Ended { get; private set; }

    /// <summary>Steps between two previews of an image; 0 for none. May be set at any time.</summary>
    public int PreviewInterval
    {
        get => Volatile.Read(ref _previewInterval);
        set => Volatile.Write(ref _previewInterval, Math.Max(0, value));
    }

    /// <summary>Order of acceptance.</summary>
    internal long Number { get; }

    /// <summary>Steps of all its images.</summary>
    internal int StepsTotal { get; }

    /// <summary>Images.</summary>
    internal int ImageCount => _images.Length;

    /// <summary>Samples that each of its images takes.</summary>
    internal int SamplesPerImage { get; }

    /// <summary>Size in samples × steps, by powers of two.</summary>
    internal int SizeClass { get; }

    /// <summary>Samples × steps that are left; of the scheduler's thread.</summary>
    internal long WorkLeft => (long)(StepsTotal - _stepsDone) * SamplesPerImage;

    /// <summary>The first image that has not ended; of the scheduler's thread.</summary>
    internal int FirstOpen { get; private set; }

    /// <summary>Where it stands.</summary>
    internal GenerationStatus Status => _status;

    private bool HasEnded => _status is GenerationStatus.Completed or GenerationStatus.Failed or GenerationStatus.Cancelled;

    /// <summary>How far it is.</summary>
    public GenerationSnapshot Snapshot()
    {
        lock (_gate) return Look();
    }

    /// <summary>Waits until something has changed.</summary>
    /// <param name="version">The version that the caller has seen.</param>
    /// <param name="cancellation">Ends the waiting, not the request.</param>
    /// <returns>A snapshot of a later version; at once where there is one, or where the request has ended.</returns>
    public async Task<GenerationSnapshot> NextAsync(long version, CancellationToken cancellation)
    {
        while (true)
        {
            Task change;
            lock (_gate)
            {
                if (_version > version || HasEnded) return Look();
                _changed ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                change = _changed.Task;
            }

            await change.WaitAsync(cancellation).ConfigureAwait(false);
        }
    }

    /// <summary>The latest previewed latent of an image, [C, S, S], with the steps it has had; null before there is one.</summary>
    /// <param name="image">Index within the request.</param>
    public (float[] Latent, int StepsDone)? Preview(int image)
    {
        lock (_gate) return _previews[image];
    }

    /// <summary>Asks for its end: images leave before the next step.</summary>
    /// <returns>False when it had ended already.</returns>
    public bool Cancel()
    {
        lock (_gate)
        {
            if (HasEnded) return false;
            _scheduler.Leave(this, cancelledImages: _images.Length - _imagesDone);
            End(GenerationStatus.Cancelled);
            _completion.TrySetCanceled();
            return true;
        }
    }

    /// <summary>Whether another goes before it: a smaller one, or an older one of its size.</summary>
    internal bool GoesAfter(Generation other) => CompareOrder(other, this) < 0;

    /// <summary>The order in which requests go.</summary>
    internal static int CompareOrder(Generation a, Generation b) => a.SizeClass != b.SizeClass ? a.SizeClass.CompareTo(b.SizeClass) : a.Number.CompareTo(b.Number);

    /// <summary>An image.</summary>
    internal RollingImage ImageAt(int index) => _images[index];

    /// <summary>Whether an image is one of its own.</summary>
    internal bool Owns(RollingImage image) => Array.IndexOf(_images, image) >= 0;

    /// <summary>Its first image begins. Under the gate.</summary>
    internal void Begin()
    {
        Started = DateTimeOffset.UtcNow;
        _status = GenerationStatus.Running;
        Change();
    }

    /// <summary>An image has taken a step. Under the gate.</summary>
    internal void Advance()
    {
        _stepsDone++;
        Change();
    }

    /// <summary>A preview was read. Under the gate.</summary>
    internal void Show(RollingImage image, float[] latent) => _previews[Array.IndexOf(_images, image)] = (latent, image.StepsTaken);

    /// <summary>An image is done; with the last one, the request is. Under the gate.</summary>
    internal void Finish(RollingImage image, float[]? pixels)
    {
        var index = Array.IndexOf(_images, image);
        _results[index] = new GeneratedImage(index, image.Label, image.Latent!, pixels);
        while (FirstOpen < _images.Length && _results[FirstOpen] is not null) FirstOpen++;
        if (++_imagesDone < _images.Length)
        {
            Change();
            return;
        }

        End(GenerationStatus.Completed);
        _completion.TrySetResult(_results!);
    }

    /// <summary>An image has failed, and the request with it. Under the gate.</summary>
    internal void Fail(Exception failure)
    {
        if (HasEnded) return;
        // The image that failed is counted as that.
        _scheduler.Leave(this, cancelledImages: _images.Length - _imagesDone - 1);
        End(GenerationStatus.Failed);
        _completion.TrySetException(failure);
    }

    /// <summary>What it waits for has moved. Under the gate.</summary>
    internal void Change()
    {
        _version++;
        _changed?.TrySetResult();
        _changed = null;
    }

    private GenerationSnapshot Look() => new(
        _version, _status, _status == GenerationStatus.Queued ? _scheduler.CountBefore(this) : 0, _stepsDone, StepsTotal, _imagesDone, HasEnded ? 0 : _scheduler.SecondsLeft(this));

    private void End(GenerationStatus status)
    {
        Ended = DateTimeOffset.UtcNow;
        _status = status;
        Change();
    }
}
