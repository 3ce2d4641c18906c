using DiTRuntime.Models;

namespace DiTRuntime.Exporter;

/// <summary>What an export runs on.</summary>
public enum ExportTarget
{
    /// <summary>A processor: the C runtime.</summary>
    C = 0,

    /// <summary>An NVIDIA GPU: cubins and a plan, played over the driver.</summary>
    Cuda = 1,
}

/// <summary>What is exported. Files are mapped, so opening one again costs nothing.</summary>
/// <param name="Name">What people call the model: its file's or folder's name.</param>
/// <param name="OpenWeights">Opens the model, at the image size asked for; the caller disposes it.</param>
/// <param name="DecoderPath">File or folder of the decoder; null for models that work on pixels.</param>
public sealed record ExportSource(string Name, Func<DiTWeights> OpenWeights, string? DecoderPath);

/// <summary>How a model is exported.</summary>
public sealed record ExportSettings
{
    /// <summary>What the export runs on.</summary>
    public required ExportTarget Target { get; init; }

    /// <summary>GPU architectures, sm_87 or sm_90a, for <see cref="ExportTarget.Cuda"/>.</summary>
    public IReadOnlyList<string> Architectures { get; init; } = [];

    /// <summary>The folder to make.</summary>
    public required string OutputFolder { get; init; }

    /// <summary>Whether a folder that holds something may be replaced.</summary>
    public bool Force { get; init; }

    /// <summary>Which published implementation to agree with.</summary>
    public Compatibility Compatibility { get; init; } = Compatibility.Official;

    /// <summary>Sampling steps, the default of the exported program and those of the golden images.</summary>
    public int Steps { get; init; } = 50;

    /// <summary>Sampler, the default of the exported program: ddim or ddpm.</summary>
    public string Sampler { get; init; } = "ddim";

    /// <summary>Timestep spacing: leading, linspace or trailing; null for the sampler's own.</summary>
    public string? Spacing { get; init; }

    /// <summary>Guidance scale; 1 turns guidance off.</summary>
    public double GuidanceScale { get; init; } = 4;

    /// <summary>Seed of the golden images.</summary>
    public ulong Seed { get; init; }

    /// <summary>The most images to be sampled together.</summary>
    public int Batch { get; init; } = 1;

    /// <summary>Threads that the memory is planned for; the exported program may run with others.</summary>
    public int Threads { get; init; } = 4;

    /// <summary>The most memory beside the mapped weights, in bytes; null for no limit.</summary>
    public long? MaxMemoryBytes { get; init; }
}
