namespace DiTRuntime.Bench.Serve;

/// <summary>What is to be measured, and how long.</summary>
internal sealed record BenchOptions
{
    /// <summary>Path of dit.dll.</summary>
    public required string Dit { get; init; }

    /// <summary>Folder for serve.md and serve.json.</summary>
    public required string Out { get; init; }

    /// <summary>Names of the measurements to take.</summary>
    public required string[] Only { get; init; }

    /// <summary>Sampling steps of an image.</summary>
    public required int Steps { get; init; }

    /// <summary>Guidance scale.</summary>
    public required double Scale { get; init; }

    /// <summary>Steps of an image of the crowd: few, so that many images are made and checked.</summary>
    public required int CrowdSteps { get; init; }

    /// <summary>Times that throughput is measured, offline and served in turn.</summary>
    public required int Rounds { get; init; }

    /// <summary>Images of one throughput measurement.</summary>
    public required int Images { get; init; }

    /// <summary>One-image requests whose latency is measured, without and with load.</summary>
    public required int Probes { get; init; }

    /// <summary>Clients that ask for one image now and then while latency is measured.</summary>
    public required int SmallClients { get; init; }

    /// <summary>Their pause between two requests, on average, in times of the latency alone.</summary>
    public required double Pause { get; init; }

    /// <summary>Clients of the crowd.</summary>
    public required int Clients { get; init; }

    /// <summary>How long the crowd asks for more.</summary>
    public required TimeSpan CrowdTime { get; init; }

    /// <summary>How long memory is watched, after a warm-up.</summary>
    public required TimeSpan MemoryTime { get; init; }

    /// <summary>How long memory is left to settle before.</summary>
    public required TimeSpan WarmUp { get; init; }

    /// <summary>How long the cheap endpoints are asked.</summary>
    public required TimeSpan OverheadTime { get; init; }
}
