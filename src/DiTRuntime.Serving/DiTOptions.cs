using DiTRuntime.Backends;
using DiTRuntime.Cuda;
using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;

namespace DiTRuntime.Serving;

/// <summary>Which model an application serves, where it runs, and how much it may take on.</summary>
public sealed class DiTOptions
{
    /// <summary>Model file or folder; null is the digit model beside the program.</summary>
    public string? Model { get; set; }

    /// <summary>File or folder of the decoder; null where the model makes pixels or its folder holds one.</summary>
    public string? Decoder { get; set; }

    /// <summary>Number of attention heads, where the model's file does not say it.</summary>
    public int? Heads { get; set; }

    /// <summary>Side of the images in pixels, where it is not the model's own.</summary>
    public int? ImageSize { get; set; }

    /// <summary>Which published implementation to agree with.</summary>
    public Compatibility Compatibility { get; set; } = Compatibility.Official;

    /// <summary>"auto", "cpu", "cuda" or "emulated".</summary>
    public string Backend { get; set; } = BackendChoice.Auto;

    /// <summary>Opens a backend of the caller's own, in the place of <see cref="Backend"/>; the service disposes it.</summary>
    public Func<IDiTBackend>? OpenBackend { get; set; }

    /// <summary>Threads of the cpu backend; 0 means one per core.</summary>
    public int Threads { get; set; }

    /// <summary>The most GPU memory to hold, in bytes; null for no limit.</summary>
    public long? MaxGpuBytes { get; set; }

    /// <summary>Bounds of the scheduler.</summary>
    public SchedulerOptions Scheduler { get; set; } = new();

    /// <summary>How long accepted requests may go on once the application is to stop.</summary>
    public TimeSpan Grace { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Told on one line what the backend "auto" has become.</summary>
    public Action<string>? Announce { get; set; }
}
