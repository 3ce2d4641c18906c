using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Search;
using DiTRuntime.Decoding;
using DiTRuntime.Models;

namespace DiTRuntime.Tests.Calibration.Search;

/// <summary>The measures of the search, on the digit model.</summary>
internal sealed class FitnessTests
{
    private static readonly QuantizeSettings s_settings = new() { Method = QuantizeMethod.Rtn, MethodName = "rtn", WeightBits = 3, GroupSize = 96 };

    [Test]
    public void Noise_error_sees_that_smaller_groups_are_better()
    {
        using var backend = CpuBackend.Create(new CpuOptions());
        using var models = new CandidateModels(Open, backend, s_settings, 0);
        var fitness = new NoiseErrorFitness(models, 4, seed: 1);

        var (fine, coarse) = (fitness.Measure(Uniform(32)), fitness.Measure(Uniform(288)));

        Assert.That(fine, Is.InRange(1e-6, 0.7 * coarse));
        Assert.That(fitness.Measure(Uniform(32)), Is.EqualTo(fine));
        Assert.That(fitness.Measure(new Dictionary<string, int>(Uniform(288)) { ["blocks.0.attn.qkv"] = 32 }), Is.Not.EqualTo(coarse));
    }

    [Test]
    public void Frechet_distance_is_measured_on_the_judges_features()
    {
        using var backend = CpuBackend.Create(new CpuOptions());
        using var models = new CandidateModels(Open, backend, s_settings with { WeightBits = 2 }, 0);
        using var judge = new DigitJudge();
        using var decoder = new PixelDecoder(1);
        var fitness = new FrechetFitness(models, judge, judge.RealDigits, decoder, imageCount: 10, steps: 4, seed: 1);

        var (fine, coarse) = (fitness.Measure(Uniform(32)), fitness.Measure(Uniform(0)));

        Assert.That(fine, Is.GreaterThan(0));
        Assert.That(coarse, Is.GreaterThan(fine));
        Assert.That(fitness.Measure(Uniform(32)), Is.EqualTo(fine));
        Assert.That(() => new FrechetFitness(models, judge, judge.RealDigits, decoder, imageCount: 1, steps: 4, seed: 1), Throws.InstanceOf<UsageException>());
    }

    private static DiTWeights Open() => DiTWeightsLoader.Load(TestFiles.DigitModel);

    private static Dictionary<string, int> Uniform(int group)
    {
        using var weights = Open();
        return CandidateModels.Layers(weights).ToDictionary(layer => layer.Name, _ => group);
    }
}
