using System.Globalization;
using DiTRuntime.Backends;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Decoding;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Cuda.Planning;

/// <summary>What a run is to hold in device memory, found by carrying its allocations out on a device without memory.</summary>
/// <param name="Residency">Which weights stay on the device.</param>
/// <param name="TileSide">Latent positions of a side that the decoder takes at once.</param>
/// <param name="DecoderBytes">The decoder's weights.</param>
/// <param name="ModelBytes">The model's weights.</param>
/// <param name="BatchBytes">Latents, activations and the modulation table of a batch, at most.</param>
/// <param name="PeakBytes">The most of everything at once.</param>
public sealed record MemoryPlan(WeightResidency Residency, int TileSide, long DecoderBytes, long ModelBytes, long BatchBytes, long PeakBytes)
{
    /// <summary>From fast to small.</summary>
    private static ReadOnlySpan<int> TileSides => [64, 32, 16];

    /// <summary>The plan on one line.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"GPU memory: model {Megabytes(ModelBytes)}{(Residency == WeightResidency.All ? "" : " (adaLN weights only while the table is made)")}, batch {Megabytes(BatchBytes)}, decoder {Megabytes(DecoderBytes)} in tiles of {TileSide}, peak {Megabytes(PeakBytes)}");

    /// <summary>The fastest plan that stays below a limit.</summary>
    /// <param name="device">The device it is for.</param>
    /// <param name="limitBytes">The most that may be held at once.</param>
    /// <param name="run">The run.</param>
    /// <exception cref="GpuOutOfMemoryException">Even the smallest does not; says what it needs.</exception>
    public static MemoryPlan Fit(GpuProperties device, long limitBytes, PlannedRun run)
    {
        MemoryPlan? smallest = null;
        foreach (var residency in (WeightResidency[])[WeightResidency.All, WeightResidency.WithoutModulation])
        {
            // Without a decoder every tile is the same plan.
            foreach (var side in run.OpenDecoder is null ? TileSides[..1] : TileSides)
            {
                var plan = Of(device, run, residency, side);
                if (plan.PeakBytes <= limitBytes) return plan;
                if (smallest is null || plan.PeakBytes < smallest.PeakBytes) smallest = plan;
            }
        }

        throw new GpuOutOfMemoryException(string.Create(CultureInfo.InvariantCulture,
            $"--max-vram {limitBytes / 1_000_000}: the run needs at least {Megabytes(smallest!.PeakBytes)} ({smallest}); a smaller --batch needs less"));
    }

    /// <summary>What a run holds.</summary>
    /// <param name="device">The device it is for.</param>
    /// <param name="run">The run.</param>
    /// <param name="residency">Which weights stay.</param>
    /// <param name="tileSide">Latent positions of a side that the decoder takes at once.</param>
    public static MemoryPlan Of(GpuProperties device, PlannedRun run, WeightResidency residency, int tileSide)
    {
        // In the order of a run: decoder, model, batch; then the decoder's work once the batch is given back.
        using var backend = new CudaBackend(new PlanningDevice(device), new PlanningCompiler());
        using var decoder = run.OpenDecoder?.Invoke(backend);
        var decoderBytes = backend.UsedBytes;
        using var model = new DiTModel(run.OpenWeights(), backend, run.Compatibility, residency: residency);
        var modelBytes = backend.UsedBytes - decoderBytes;
        using (var batch = new SamplingBatch(model, run.Settings, new int[run.Labels.Length], run.Labels)) batch.Step();
        var batchBytes = backend.PeakBytes - modelBytes - decoderBytes;
        if (decoder is not null)
        {
            var config = model.Config;
            decoder.TileSide = Math.Min(decoder.TileSide, tileSide);
            decoder.Decode(new float[config.LatentCount], config.InputSize, config.InputSize, new float[KernelPlan.PixelCount(decoder, config)]);
        }

        return new MemoryPlan(residency, tileSide, decoderBytes, modelBytes, batchBytes, backend.PeakBytes);
    }

    private static string Megabytes(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{(bytes + 999_999) / 1_000_000:N0} MB");
}

/// <summary>A run to be planned.</summary>
/// <param name="OpenWeights">Opens the model.</param>
/// <param name="OpenDecoder">Makes its decoder on a backend, or null for none.</param>
/// <param name="Compatibility">Which published implementation to agree with.</param>
/// <param name="Plan">The sampler.</param>
/// <param name="GuidanceScale">1 means none.</param>
/// <param name="Labels">Class of each image of the largest batch.</param>
public sealed record PlannedRun(
    Func<DiTWeights> OpenWeights, Func<IDiTBackend, IImageDecoder>? OpenDecoder, Compatibility Compatibility, SamplingPlan Plan, float GuidanceScale, int[] Labels)
{
    internal SamplingSettings Settings => new(Plan, new ImageNoise(0), GuidanceScale, 1);
}
