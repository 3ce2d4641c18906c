namespace DiTRuntime.Models.Scheduling;

/// <summary>Bounds of a scheduler.</summary>
public sealed record SchedulerOptions
{
    /// <summary>Requests that may wait; one more is refused.</summary>
    public int MaxQueue { get; init; } = 256;

    /// <summary>Images of one request.</summary>
    public int MaxImagesPerRequest { get; init; } = 10;

    /// <summary>Samples of one step (a guided image takes two); 0 chooses by the backend and the model.</summary>
    public int MaxBatch { get; init; }

    /// <summary>Memory for adaLN rows, in bytes.</summary>
    public long ModulationBytes { get; init; } = 256L << 20;
}
