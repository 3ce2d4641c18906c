using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary>The built-in digit model on the engine, against the CPU backend in the same format.</summary>
[TestFixture]
[Category(TestDevice.Category)]
internal sealed class DigitEngineTests
{
    private const int Steps = 6;

    [Test]
    public void Images_are_those_of_the_cpu([Values("f16", "w8a8-g96", "w4a8-g96", "w4a16-g96", "k256-d4-all", "k256-d4-a8-g96", "k256-d3")] string format)
    {
        using var cpu = CpuBackend.Create(new CpuOptions(2));
        var expected = Sample(cpu, format, [0, 1], [3, 7]);
        using var engine = EmulatedEngine.Create();
        var actual = Sample(engine, format, [0, 1], [3, 7]);
        Assert.That(Psnr(actual, expected), Is.GreaterThanOrEqualTo(40));
    }

    [Test]
    public void An_image_has_the_same_bits_alone_and_among_five([Values("f16", "w4a8-g96", "k256-d4-all")] string format)
    {
        using var engine = EmulatedEngine.Create();
        var together = Sample(engine, format, [0, 1, 2, 3, 4], [3, 7, 3, 1, 0]);
        var alone = Sample(engine, format, [3], [1]);
        Assert.That(alone.AsSpan().SequenceEqual(together.AsSpan(3 * alone.Length, alone.Length)));
    }

    [Test]
    public void A_recorded_step_survives_a_larger_batch()
    {
        // One group a row: the hidden rows pass through scratch memory, which the larger batch replaces.
        using var engine = EmulatedEngine.Create();
        using var model = new DiTModel(DigitModels.Open("w8a8-g0"), engine, Compatibility.Official);
        using var small = Batch(model, [0], [3]);
        for (var i = 0; i < 3; i++) small.Step();
        using (var large = Batch(model, [1, 2, 3], [1, 2, 4])) large.Step();
        while (!small.IsFinished) small.Step();
        var latents = new float[model.Config.LatentCount];
        small.Read(latents);
        Assert.That(latents, Is.EqualTo(Sample(engine, "w8a8-g0", [0], [3])));
    }

    [Test]
    public void A_step_of_ddpm_draws_the_noise_of_the_cpu()
    {
        using var cpu = CpuBackend.Create(new CpuOptions(2));
        using var engine = EmulatedEngine.Create();
        Assert.That(Psnr(Sample(engine, "f16", [4], [5], "ddpm"), Sample(cpu, "f16", [4], [5], "ddpm")), Is.GreaterThanOrEqualTo(40));
    }

    private static float[] Sample(IDiTBackend backend, string format, int[] images, int[] labels, string sampler = "ddim")
    {
        using var model = new DiTModel(DigitModels.Open(format), backend, Compatibility.Official);
        using var batch = Batch(model, images, labels, sampler);
        while (!batch.IsFinished) batch.Step();
        var latents = new float[images.Length * model.Config.LatentCount];
        batch.Read(latents);
        return latents;
    }

    private static SamplingBatch Batch(DiTModel model, int[] images, int[] labels, string sampler = "ddim")
    {
        var plan = SamplingPlan.Create(sampler, TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), Steps), 0, model.Config.LearnsVariance);
        return new SamplingBatch(model, new SamplingSettings(plan, new ImageNoise(5), 2, model.Config.InChannels), images, labels);
    }

    /// <summary>Of images in [−1, 1].</summary>
    private static double Psnr(float[] actual, float[] expected)
    {
        var sums = new ErrorSums();
        sums.Add(Array.ConvertAll(expected, value => Math.Clamp(value, -1, 1)), Array.ConvertAll(actual, value => Math.Clamp(value, -1, 1)));
        return sums.PsnrDecibels(2);
    }
}
