using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Planning;
using DiTRuntime.Decoding;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary>Runs planned below a limit, and what the real ones then hold.</summary>
[TestFixture]
internal sealed class MemoryPlanTests
{
    private static readonly GpuProperties s_device = GpuModels.Typical(90);

    [Test]
    public void Plan_gives_up_the_modulation_weights_then_refuses()
    {
        var run = Run();
        var all = MemoryPlan.Of(s_device, run, WeightResidency.All, 64);
        var less = MemoryPlan.Of(s_device, run, WeightResidency.WithoutModulation, 64);
        Assert.That(less.PeakBytes, Is.LessThan(all.PeakBytes));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(MemoryPlan.Fit(s_device, all.PeakBytes, run).Residency, Is.EqualTo(WeightResidency.All));
            Assert.That(MemoryPlan.Fit(s_device, all.PeakBytes - 1, run).Residency, Is.EqualTo(WeightResidency.WithoutModulation));
            Assert.That(
                () => MemoryPlan.Fit(s_device, less.PeakBytes - 1, run),
                Throws.InstanceOf<GpuOutOfMemoryException>().With.Message.Contains("the run needs at least").And.Property(nameof(DiTException.ExitCode)).EqualTo(ExitCode.OutOfMemory));
        }
    }

    [Test]
    public void Decoder_takes_smaller_tiles_before_it_is_refused()
    {
        // A model of 64×64 latents and next to no weights: the decoder's activations are the peak.
        var run = new PlannedRun(
            () => DiTWeightsLoader.Load(TestFiles.Golden("tiny/official.safetensors"), new DiTLoadOptions { HeadCount = 2, InputSize = 64 }),
            backend => ImageDecoders.Open(TestFiles.Golden("vae"), backend), Compatibility.Official, Plan(), 4, [1]);
        var peaks = new[] { 64, 32, 16 }.Select(side => MemoryPlan.Of(s_device, run, WeightResidency.All, side).PeakBytes).ToArray();
        Assert.That(peaks, Is.Ordered.Descending);
        Assert.That(peaks, Is.Unique);
        Assert.That(MemoryPlan.Fit(s_device, peaks[0] - 1, run).TileSide, Is.EqualTo(32));
    }

    [Test]
    public void A_run_holds_what_was_planned([Values("f16", "k256-d4-all", "k256-d3")] string format)
    {
        var plan = MemoryPlan.Of(TestDevice.Device.Properties, Run(format), WeightResidency.All, 64);
        using var backend = EmulatedEngine.Create(new(MemoryLimitBytes: plan.PeakBytes));
        using var model = new DiTModel(DigitModels.Open(format), backend, Compatibility.Official);
        using var batch = new SamplingBatch(model, new SamplingSettings(Plan(), new ImageNoise(0), 4, 1), [0, 1], [3, 7]);
        batch.Step();
        Assert.That(backend.PeakBytes, Is.EqualTo(plan.PeakBytes));
    }

    private static PlannedRun Run(string format = "f16") => new(() => DigitModels.Open(format), null, Compatibility.Official, Plan(), 4, [3, 7]);

    private static SamplingPlan Plan() => SamplingPlan.Create("ddim", TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 10), 0, learnsVariance: true);
}
