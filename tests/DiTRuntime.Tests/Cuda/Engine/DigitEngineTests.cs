using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary>The built-in digit model on the engine, against the CPU backend in the same format.</summary>
[TestFixture]
internal sealed class DigitEngineTests
{
    private const int Steps = 6;

    [Test]
    public void Images_are_those_of_the_cpu([Values("f16", "w8a8-g96", "w4a8-g96", "w4a16-g96")] string format)
    {
        using var cpu = CpuBackend.Create(new CpuOptions(2));
        var expected = Sample(cpu, format, [0, 1], [3, 7]);
        using var engine = EmulatedEngine.Create();
        var actual = Sample(engine, format, [0, 1], [3, 7]);
        Assert.That(Psnr(actual, expected), Is.GreaterThanOrEqualTo(40));
    }

    [Test]
    public void An_image_has_the_same_bits_alone_and_among_five([Values("f16", "w4a8-g96")] string format)
    {
        using var engine = EmulatedEngine.Create();
        var together = Sample(engine, format, [0, 1, 2, 3, 4], [3, 7, 3, 1, 0]);
        var alone = Sample(engine, format, [3], [1]);
        Assert.That(alone.AsSpan().SequenceEqual(together.AsSpan(3 * alone.Length, alone.Length)));
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
        var plan = SamplingPlan.Create(sampler, TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), Steps), 0, model.Config.LearnsVariance);
        using var batch = new SamplingBatch(model, new SamplingSettings(plan, new ImageNoise(5), 2, model.Config.InChannels), images, labels);
        while (!batch.IsFinished) batch.Step();
        var latents = new float[images.Length * model.Config.LatentCount];
        batch.Read(latents);
        return latents;
    }

    /// <summary>Of images in [−1, 1].</summary>
    private static double Psnr(float[] actual, float[] expected)
    {
        double error = 0;
        for (var i = 0; i < actual.Length; i++) error += Math.Pow(Math.Clamp(actual[i], -1, 1) - Math.Clamp(expected[i], -1, 1), 2);
        return 10 * Math.Log10(4 / Math.Max(error / actual.Length, 1e-20));
    }
}
