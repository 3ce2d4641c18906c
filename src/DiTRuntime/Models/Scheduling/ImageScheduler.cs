using DiTRuntime.Decoding;

namespace DiTRuntime.Models.Scheduling;

/// <summary>Runs many requests on one model, step by step, on a thread of its own. Its own members are safe for any thread.</summary>
public sealed class ImageScheduler : IAsyncDisposable
{
    /// <param name="model">The model; used by the scheduler alone from now on.</param>
    /// <param name="decoder">Latents to pixels on the same backend, or null when only latents are wanted.</param>
    /// <param name="options">Its bounds.</param>
    public ImageScheduler(DiTModel model, IImageDecoder? decoder, SchedulerOptions options) => throw new NotImplementedException();

    /// <summary>The model's architecture.</summary>
    public DiTConfig Config => throw new NotImplementedException();

    /// <summary>Its bounds, settled.</summary>
    public SchedulerOptions Options => throw new NotImplementedException();

    /// <summary>What it is busy with.</summary>
    public SchedulerLoad Load => throw new NotImplementedException();

    /// <summary>Accepts a request, or refuses it at once.</summary>
    /// <exception cref="UsageException">It asks for what the model or the bounds do not allow.</exception>
    /// <exception cref="QueueFullException">Too many are waiting; says when to try again.</exception>
    /// <exception cref="SchedulerClosedException">It is draining or closed.</exception>
    public Generation Submit(GenerationRequest request) => throw new NotImplementedException();

    /// <summary>Accepts nothing more and waits until what was accepted has ended.</summary>
    public Task DrainAsync() => throw new NotImplementedException();

    /// <summary>Cancels everything and ends the thread.</summary>
    public ValueTask DisposeAsync() => throw new NotImplementedException();
}

/// <summary>What a scheduler is busy with.</summary>
/// <param name="QueuedRequests">Requests none of whose images has begun.</param>
/// <param name="RunningRequests">Requests some of whose images have begun.</param>
/// <param name="RunningImages">Images that have begun.</param>
/// <param name="BatchSamples">Samples of the latest step; 0 when idle.</param>
/// <param name="MaxBatch">Samples of the largest step, lowered when memory has run out.</param>
/// <param name="SecondsToDrain">Expected time for all that was accepted; null before anything is known.</param>
public readonly record struct SchedulerLoad(int QueuedRequests, int RunningRequests, int RunningImages, int BatchSamples, int MaxBatch, double? SecondsToDrain);

/// <summary>The queue is full.</summary>
/// <param name="retryAfter">When there will probably be room.</param>
public sealed class QueueFullException(TimeSpan retryAfter) : Exception("the queue is full")
{
    /// <summary>When there will probably be room.</summary>
    public TimeSpan RetryAfter => retryAfter;
}

/// <summary>The scheduler accepts nothing more.</summary>
public sealed class SchedulerClosedException() : Exception("the scheduler accepts no more requests");
