namespace DiTRuntime.Exporter.Cuda;

/// <summary>The weights, plans and cubins of <c>--target cuda</c>.</summary>
internal static class CudaExport
{
    /// <summary>Writes weights.dit for the GPU, and what else the player reads, into a folder.</summary>
    /// <param name="source">What is exported.</param>
    /// <param name="settings">How.</param>
    /// <param name="folder">An existing folder; the caller renames it once it is complete.</param>
    /// <param name="cancellation">Ends the work.</param>
    public static void Write(ExportSource source, ExportSettings settings, string folder, CancellationToken cancellation) =>
        throw new UsageException("--target cuda: expected c; this version exports for processors only");
}
