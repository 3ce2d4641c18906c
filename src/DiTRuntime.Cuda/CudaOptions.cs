namespace DiTRuntime.Cuda;

/// <summary>Settings of the CUDA backend.</summary>
/// <param name="MemoryLimitBytes">The most device memory it may hold at once, or null.</param>
/// <param name="UsesGraphs">Whether repeated steps are recorded once and replayed.</param>
public sealed record CudaOptions(long? MemoryLimitBytes = null, bool UsesGraphs = true);
