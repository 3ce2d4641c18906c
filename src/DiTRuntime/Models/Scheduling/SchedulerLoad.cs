namespace DiTRuntime.Models.Scheduling;

/// <summary>What a scheduler is busy with.</summary>
/// <param name="QueuedRequests">Requests none of whose images has begun.</param>
/// <param name="RunningRequests">Requests some of whose images have begun.</param>
/// <param name="RunningImages">Images that have begun.</param>
/// <param name="BatchSamples">Samples of the latest step; 0 when idle.</param>
/// <param name="MaxBatch">Samples of the largest step, lowered when memory has run out.</param>
/// <param name="SecondsToDrain">Expected time for all that was accepted; null before anything is known.</param>
/// <param name="SamplesPerSecond">Samples advanced by a step, per second of late; 0 before the first step.</param>
public readonly record struct SchedulerLoad(
    int QueuedRequests, int RunningRequests, int RunningImages, int BatchSamples, int MaxBatch, double? SecondsToDrain, double SamplesPerSecond);
