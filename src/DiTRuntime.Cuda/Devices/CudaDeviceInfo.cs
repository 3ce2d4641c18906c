namespace DiTRuntime.Cuda.Devices;

/// <summary>A GPU as listings show it.</summary>
/// <param name="Ordinal">Its number, for <c>CudaDevice.Open</c>.</param>
/// <param name="Name">As the driver calls it.</param>
/// <param name="Architecture">Compute capability as one number: 75, 80, 90.</param>
/// <param name="MultiprocessorCount">SMs.</param>
/// <param name="MemoryBytes">All its memory.</param>
/// <param name="BusId">Where it is: "0000:3b:00.0".</param>
public sealed record CudaDeviceInfo(int Ordinal, string Name, int Architecture, int MultiprocessorCount, long MemoryBytes, string BusId)
{
    /// <summary>The oldest architecture the kernels run on: the first with cp.async and the f16 and integer products they use.</summary>
    public const int OldestArchitecture = 80;

    /// <summary>Why it cannot be used, or null.</summary>
    public string? Problem => Architecture >= OldestArchitecture ? null
        : $"{Name} has architecture {Dotted(Architecture)}; the kernels need {Dotted(OldestArchitecture)} or newer (Ampere, 2020)";

    /// <summary>80 as "8.0".</summary>
    public static string Dotted(int architecture) => $"{architecture / 10}.{architecture % 10}";
}

/// <summary>What a look at the driver found; never an exception.</summary>
/// <param name="Devices">The GPUs it sees, usable or not.</param>
/// <param name="DriverVersion">CUDA version the driver offers, 12040 for 12.4; 0 without a driver.</param>
/// <param name="Library">The driver's library; null where there is none.</param>
/// <param name="Problem">Why there is no list; null where there is one.</param>
public sealed record CudaProbe(IReadOnlyList<CudaDeviceInfo> Devices, int DriverVersion, string? Library, string? Problem);
