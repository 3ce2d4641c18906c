using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Decoding;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Cuda.Planning;

/// <summary>Which kernels a model needs: found by running a step of it on a device that runs nothing.</summary>
public static class KernelPlan
{
    /// <summary>Batches whose tiles are planned for: from one image to many.</summary>
    private static ReadOnlySpan<int> Batches => [1, 8, 32, 64];

    /// <summary>The kernels, in the order of their first use.</summary>
    /// <param name="open">Opens the model.</param>
    /// <param name="target">What they are to be compiled for.</param>
    /// <param name="openDecoder">Makes the model's decoder on a backend, or null for none.</param>
    public static IReadOnlyList<KernelSpec> For(Func<DiTWeights> open, TargetArchitecture target, Func<Backends.IDiTBackend, IImageDecoder>? openDecoder)
    {
        var compiler = new PlanningCompiler();
        using var backend = new CudaBackend(new PlanningDevice(GpuModels.Typical(target.Number)), compiler);
        using var model = new DiTModel(open(), backend, Compatibility.Official);
        var config = model.Config;
        foreach (var batch in Batches)
        {
            foreach (var guided in (bool[])[true, false])
            {
                var plan = SamplingPlan.Create("ddim", TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 50), 0, config.LearnsVariance);
                var settings = new SamplingSettings(plan, new ImageNoise(0), guided ? 2 : 1, config.InChannels);
                using var run = new SamplingBatch(model, settings, new int[batch], new int[batch]);
                run.Step();
            }
        }

        using var state = model.CreateState(1, 2);
        using var table = new ModulationTable(backend, config, 2);
        model.Forward(state, table);
        if (openDecoder is not null)
        {
            using var decoder = openDecoder(backend);
            decoder.Decode(new float[config.LatentCount], config.InputSize, config.InputSize, new float[PixelCount(decoder, config)]);
        }

        return [.. compiler.Specs];
    }

    internal static int PixelCount(IImageDecoder decoder, DiTConfig config) =>
        config.InputSize * config.InputSize * decoder.UpscaleFactor * decoder.UpscaleFactor * decoder.ImageChannels;
}
