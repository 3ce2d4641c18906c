using DiTRuntime.Cuda;
using DiTRuntime.Models;
using DiTRuntime.Sampling;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary>The engine against values computed with the published code in fp32.</summary>
[TestFixture]
[Category(TestDevice.Category)]
internal sealed class TinyGoldenTests
{
    /// <summary>
    /// Activations and weights are rounded to halves (2^-11 relative each) some thirty times on the way through two blocks; the errors
    /// are independent, so their sum stays near √30 · 2^-12.
    /// </summary>
    private const double ForwardTolerance = 2e-3;

    private static GoldenTensors Expected => TinyModel.Expected;

    [Test]
    public void Forward_agrees_with_the_published_model([Values("official.pt", "diffusers")] string layout)
    {
        using var tiny = new TinyModel(EmulatedEngine.Create(), layout);
        var output = tiny.Forward(Expected.F32("forward.x"), TinyModel.Integers("forward.t"), TinyModel.Integers("forward.y"));
        Assert.That(Relative.Error(output, Expected.F32("forward.out")), Is.LessThanOrEqualTo(ForwardTolerance));
    }

    [Test]
    public void Every_block_agrees_with_the_published_model()
    {
        using var tiny = new TinyModel(EmulatedEngine.Create());
        tiny.AssertBlocks(ForwardTolerance);
    }

    [Test]
    public void Guidance_agrees_with_the_published_model()
    {
        using var tiny = new TinyModel(EmulatedEngine.Create());
        var timestep = TinyModel.Integers("cfg.t")[0];
        var output = new DiTForward(tiny.Model).Guided(Expected.F32("cfg.z"), [timestep, timestep], TinyModel.Integers("cfg.labels"), Expected.F32("cfg.scale")[0]);
        // Guidance multiplies the difference of two predictions by its scale, their errors too.
        Assert.That(Relative.Error(output, Expected.F32("cfg.out")), Is.LessThanOrEqualTo(4 * ForwardTolerance));
    }

    [TestCase("ddim10", "ddim", "leading", 0.0, true)]
    [TestCase("ddim10eta", "ddim", "leading", 0.7, true)]
    [TestCase("ddpm10", "ddpm", "linspace", 0.0, true)]
    [TestCase("ddpm10", "ddpm", "linspace", 0.0, false)]
    public void Trajectory_agrees_with_the_published_sampler(string golden, string sampler, string spacing, double eta, bool usesGraphs)
    {
        using var tiny = new TinyModel(EmulatedEngine.Create(new CudaOptions(UsesGraphs: usesGraphs)));
        var plan = SamplingPlan.Create(sampler, TimestepSpacing.Parse(spacing).Respace(NoiseSchedule.Linear(), 10), eta, learnsVariance: true);
        var noise = Expected.Names.Contains($"{golden}.noise") ? Expected.F32($"{golden}.noise") : [];
        var settings = new SamplingSettings(plan, new GivenNoise(Expected.F32("cfg.z"), noise), Expected.F32("cfg.scale")[0], 3);
        using var batch = new SamplingBatch(tiny.Model, settings, [0, 1], TinyModel.Integers("cfg.labels"));
        var trajectory = Expected.F32($"{golden}.trajectory");
        var latents = new float[trajectory.Length / 10];
        for (var step = 0; step < 10; step++)
        {
            batch.Step();
            batch.Read(latents);
            Assert.That(Relative.Error(latents, trajectory.AsSpan(step * latents.Length, latents.Length)), Is.LessThanOrEqualTo(4 * ForwardTolerance), $"step {step}");
        }
    }

    [Test]
    public void Sample_has_the_same_bits_in_any_batch()
    {
        using var tiny = new TinyModel(EmulatedEngine.Create());
        tiny.AssertSamplesAreIndependent();
    }
}
