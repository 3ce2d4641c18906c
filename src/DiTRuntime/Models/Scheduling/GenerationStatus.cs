namespace DiTRuntime.Models.Scheduling;

/// <summary>Where a request stands.</summary>
public enum GenerationStatus
{
    /// <summary>None of its images has begun.</summary>
    Queued,

    /// <summary>Some have begun.</summary>
    Running,

    /// <summary>All images are there.</summary>
    Completed,

    /// <summary>An image failed: see the completion's exception.</summary>
    Failed,

    /// <summary>Cancelled by its caller.</summary>
    Cancelled,
}

/// <summary>How far a request is.</summary>
/// <param name="Version">Grows with every change.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="QueuePosition">Requests that begin before it; 0 once it runs.</param>
/// <param name="StepsDone">Steps taken, over all its images.</param>
/// <param name="StepsTotal">Steps of all its images.</param>
/// <param name="ImagesDone">Images that are finished.</param>
/// <param name="SecondsLeft">Expected time until it is complete, from what the steps before it took; null before anything is known of that.</param>
public readonly record struct GenerationSnapshot(
    long Version, GenerationStatus Status, int QueuePosition, int StepsDone, int StepsTotal, int ImagesDone, double? SecondsLeft);
