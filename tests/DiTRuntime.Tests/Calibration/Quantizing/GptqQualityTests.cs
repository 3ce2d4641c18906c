using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Models;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Calibration.Quantizing;

/// <summary>What calibration is for, on the digit model: the predicted noise, on trajectories that calibration has not seen.</summary>
internal sealed class GptqQualityTests
{
    [Test]
    public void Gptq_beats_rounding_to_nearest()
    {
        var rtn = new QuantizeSettings { Method = QuantizeMethod.Rtn, MethodName = "rtn", WeightBits = 4, GroupSize = 96, SampleCount = 16 };

        var nearest = NoiseError(rtn);
        var gptq = NoiseError(rtn with { Method = QuantizeMethod.Gptq, MethodName = "gptq" });

        TestContext.Out.WriteLine($"noise error: {nearest:e3} to nearest, {gptq:e3} GPTQ");
        Assert.That(gptq, Is.LessThan(0.5 * nearest));
    }

    private static double NoiseError(QuantizeSettings settings)
    {
        using var folder = new TemporaryFolder();
        using var backend = CpuBackend.Create(new CpuOptions());
        new ModelQuantizer(() => DiTWeightsLoader.Load(TestFiles.DigitModel), backend, 0, _ => { }).Run(settings, folder["q"]);
        using var reference = new DiTModel(DiTWeightsLoader.Load(TestFiles.DigitModel), backend, Compatibility.Official);
        using var candidate = new DiTModel(DiTWeightsLoader.Load(folder["q"]), backend, Compatibility.Official);
        return ModelComparison.Run(reference, candidate, new ComparisonSettings(Steps: 10, Samples: 10, Seed: 77, GuidanceScale: 2), decoder: null).EpsMse;
    }
}
