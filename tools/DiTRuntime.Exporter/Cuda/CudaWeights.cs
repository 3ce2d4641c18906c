using System.Globalization;
using DiTRuntime.Exporter.Decoding;
using DiTRuntime.Exporter.Files;
using DiTRuntime.Exporter.Folder;
using DiTRuntime.Exporter.Planning;
using DiTRuntime.Models;

namespace DiTRuntime.Exporter.Cuda;

/// <summary>The weights for a GPU. What they hold there is known once the plans are recorded.</summary>
internal sealed class CudaWeights : IWeightsExport
{
    private readonly ExportSource _source;
    private readonly ExportSettings _settings;
    private readonly DiTConfig _config;

    public CudaWeights(ExportSource source, ExportSettings settings, DiTWeights weights)
    {
        (_source, _settings, _config) = (source, settings, weights.Config);
        using var decoder = DecoderTrace.Of(source.DecoderPath, _config);
        (TileSide, Upscale, ImageChannels) = (decoder.TileSide, decoder.Upscale, decoder.ImageChannels);
        Decoder = decoder.Kind == FileDecoder.Pixels ? null : decoder.Description;
    }

    /// <inheritdoc/>
    public string? Decoder { get; }

    /// <inheritdoc/>
    public int TileSide { get; }

    private int Upscale { get; }

    private int ImageChannels { get; }

    /// <inheritdoc/>
    public EdgeMemoryPlan Write(string folder, IProgress<double>? progress, CancellationToken cancellation)
    {
        var device = CudaExport.Write(_source, _settings, folder, cancellation);
        var plan = EdgeMemoryPlan.OfDevice(
            new FileInfo(Path.Combine(folder, FolderWriter.WeightsName)).Length, _settings.Batch, TileSide, device, _config.LatentCount, _config.InputSize * Upscale, ImageChannels);
        if (_settings.MaxMemoryBytes is { } limit && plan.MemoryBytes > limit)
        {
            throw new ExportMemoryException(string.Create(CultureInfo.InvariantCulture,
                $"--max-memory {limit / 1e6:0.##}MB: {plan.MemoryBytes / 1e6:0.##} MB are needed beside the weights' file; a smaller --batch needs less"));
        }

        return plan;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // Holds nothing open.
    }
}
