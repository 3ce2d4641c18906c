namespace DiTRuntime.Models.Scheduling;

/// <summary>The queue is full.</summary>
/// <param name="retryAfter">When there will probably be room.</param>
public sealed class QueueFullException(TimeSpan retryAfter) : Exception("the queue is full")
{
    /// <summary>When there will probably be room.</summary>
    public TimeSpan RetryAfter => retryAfter;
}

/// <summary>The scheduler accepts nothing more.</summary>
public sealed class SchedulerClosedException() : Exception("the scheduler accepts no more requests");
