using DiTRuntime.Exporter.Planning;

namespace DiTRuntime.Exporter;

/// <summary>The weights of an export for one target, settled but not written.</summary>
internal interface IWeightsExport : IDisposable
{
    /// <summary>The decoder, for people; null for models that work on pixels.</summary>
    string? Decoder { get; }

    /// <summary>Positions that the decoder takes at once; settled once the weights are written.</summary>
    int TileSide { get; }

    /// <summary>Writes weights.dit.</summary>
    /// <param name="folder">Where to.</param>
    /// <param name="progress">Told the fraction that is written.</param>
    /// <param name="cancellation">Ends the writing.</param>
    /// <returns>What the export holds in memory when it runs.</returns>
    /// <exception cref="ExportMemoryException">That is more than the limit.</exception>
    IMemoryPlan Write(string folder, IProgress<double>? progress, CancellationToken cancellation);
}
