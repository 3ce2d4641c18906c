using DiTRuntime.Exporter.Decoding;
using DiTRuntime.Exporter.Files;
using DiTRuntime.Exporter.Planning;
using DiTRuntime.Models;

namespace DiTRuntime.Exporter.Cuda;

/// <summary>The weights for a GPU. What they hold there is known once the plans are recorded.</summary>
internal sealed class CudaWeights : IWeightsExport
{
    private readonly ExportSource _source;
    private readonly ExportSettings _settings;

    public CudaWeights(ExportSource source, ExportSettings settings, DiTWeights weights)
    {
        (_source, _settings) = (source, settings);
        using var decoder = DecoderTrace.Of(source.DecoderPath, weights.Config);
        TileSide = decoder.TileSide;
        Decoder = decoder.Kind == FileDecoder.Pixels ? null : decoder.Description;
    }

    /// <inheritdoc/>
    public string? Decoder { get; }

    /// <inheritdoc/>
    public int TileSide { get; private set; }

    /// <inheritdoc/>
    public IMemoryPlan Write(string folder, IProgress<double>? progress, CancellationToken cancellation)
    {
        var memory = CudaExport.Write(_source, _settings, folder, cancellation);
        TileSide = (int)memory.Header.TileSize;
        return memory;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // Holds nothing open.
    }
}
