using DiTRuntime.Backends.Cpu;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Models;

/// <summary>Whole trajectories against the published samplers, and what a step may not do: allocate, or depend on the batch.</summary>
[TestFixture]
internal sealed class SamplingBatchTests
{
    private const double TrajectoryTolerance = 1e-4;

    private static GoldenTensors Expected => TinyModel.Expected;

    [TestCase("ddim10", "ddim", "leading", 0.0)]
    [TestCase("ddim10eta", "ddim", "leading", 0.7)]
    [TestCase("ddim_linspace10", "ddim", "linspace", 0.0)]
    [TestCase("ddpm10", "ddpm", "linspace", 0.0)]
    public void Trajectory_agrees_with_the_published_sampler(string golden, string sampler, string spacing, double eta)
    {
        using var tiny = new TinyModel(TinyModel.CreateBackend("cpu"));
        var plan = SamplingPlan.Create(sampler, TimestepSpacing.Parse(spacing).Respace(NoiseSchedule.Linear(), 10), eta, learnsVariance: true);
        if (Expected.Names.Contains($"{golden}.timesteps"))
            Assert.That(plan.Steps.ToArray().Select(s => (long)s.Timestep).Reverse(), Is.EqualTo(Expected.I64($"{golden}.timesteps")));
        var noise = Expected.Names.Contains($"{golden}.noise") ? Expected.F32($"{golden}.noise") : [];
        var settings = new SamplingSettings(plan, new GivenNoise(Expected.F32("cfg.z"), noise), Expected.F32("cfg.scale")[0], 3);
        using var batch = new SamplingBatch(tiny.Model, settings, [0, 1], [.. Expected.I64("cfg.labels").Select(l => (int)l)]);

        var trajectory = Expected.F32($"{golden}.trajectory");
        var latents = new float[trajectory.Length / 10];
        for (var step = 0; step < 10; step++)
        {
            batch.Step();
            batch.Read(latents);
            Assert.That(Relative.Error(latents, trajectory.AsSpan(step * latents.Length, latents.Length)), Is.LessThanOrEqualTo(TrajectoryTolerance), $"step {step}");
        }
    }

    [Test]
    public void Step_allocates_nothing([Values("ddim", "ddpm")] string sampler, [Values] bool batchNoise)
    {
        using var tiny = new TinyModel(CpuBackend.Create(new CpuOptions(2)));
        var plan = SamplingPlan.Create(sampler, TimestepSpacing.Linspace.Respace(NoiseSchedule.Linear(), 120), 0, learnsVariance: true);
        NoiseSource noise = batchNoise ? new BatchNoise(3, guided: true) : new ImageNoise(3);
        using var batch = new SamplingBatch(tiny.Model, new SamplingSettings(plan, noise, 4, 3), [0, 1, 2], [3, 4, 3]);
        batch.Step();
        // The process's count includes the test host's threads, and a collection counts what is left of a thread's buffer as
        // used; what a step itself allocates would show in every round.
        var (ownThread, process) = (long.MaxValue, long.MaxValue);
        for (var round = 0; round < 10; round++)
        {
            var (ownBefore, processBefore) = (GC.GetAllocatedBytesForCurrentThread(), GC.GetTotalAllocatedBytes(precise: true));
            for (var i = 0; i < 10; i++) batch.Step();
            process = Math.Min(process, GC.GetTotalAllocatedBytes(precise: true) - processBefore);
            ownThread = Math.Min(ownThread, GC.GetAllocatedBytesForCurrentThread() - ownBefore);
        }

        Assert.That(ownThread, Is.Zero, "the caller's thread");
        Assert.That(process, Is.LessThan(512), "all threads, ten steps");
    }

    [Test]
    public void Image_has_the_same_bits_in_any_batch_and_on_any_number_of_threads([Values("ddim", "ddpm")] string sampler)
    {
        var plan = SamplingPlan.Create(sampler, TimestepSpacing.Linspace.Respace(NoiseSchedule.Linear(), 4), 0, learnsVariance: true);
        var whole = Sample(plan, threads: 1, [0, 1, 2], [7, 1, 7]);
        foreach (var threads in new[] { 1, 2, 3 })
        {
            for (var image = 0; image < 3; image++)
            {
                var alone = Sample(plan, threads, [image], [image == 1 ? 1 : 7]);
                Assert.That(alone.AsSpan().SequenceEqual(whole.AsSpan(image * alone.Length, alone.Length)), $"image {image}, {threads} threads");
            }
        }
    }

    [Test]
    public void Scale_one_computes_no_unconditional_half()
    {
        using var tiny = new TinyModel(CpuBackend.Create(new CpuOptions(1)));
        var plan = SamplingPlan.Ddim(TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 2), 0);
        using var unguided = new SamplingBatch(tiny.Model, new SamplingSettings(plan, new ImageNoise(1), 1, 3), [0], [2]);
        using var guided = new SamplingBatch(tiny.Model, new SamplingSettings(plan, new ImageNoise(1), 1.5f, 3), [0], [2]);
        Assert.That(unguided.SampleCount, Is.EqualTo(1));
        Assert.That(guided.SampleCount, Is.EqualTo(2));
    }

    private static float[] Sample(SamplingPlan plan, int threads, int[] images, int[] labels)
    {
        using var tiny = new TinyModel(CpuBackend.Create(new CpuOptions(threads)));
        using var batch = new SamplingBatch(tiny.Model, new SamplingSettings(plan, new ImageNoise(11), 3, 3), images, labels);
        while (!batch.IsFinished) batch.Step();
        var latents = new float[images.Length * tiny.Model.Config.LatentCount];
        batch.Read(latents);
        return latents;
    }
}
