namespace DiTRuntime.Models.Scheduling;

/// <summary>How far a request is.</summary>
/// <param name="StepsDone">Steps taken, over all its images.</param>
/// <param name="StepsTotal">Steps of all its images.</param>
/// <param name="ImagesDone">Images that are finished.</param>
/// <param name="ImageCount">Images.</param>
public readonly record struct StepProgress(int StepsDone, int StepsTotal, int ImagesDone, int ImageCount);
