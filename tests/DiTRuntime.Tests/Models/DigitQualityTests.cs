using DiTRuntime.Backends.Cpu;
using DiTRuntime.Decoding;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Models;

/// <summary>The built-in model draws the digits it is asked for.</summary>
[TestFixture]
internal sealed class DigitQualityTests
{
    [Test]
    public void Judge_agrees_with_the_requested_digit_on_most_of_200_images()
    {
        using var backend = CpuBackend.Create(new CpuOptions());
        using var weights = DiTWeightsLoader.Load(TestFiles.DigitModel);
        using var model = new DiTModel(weights, backend, Compatibility.Official);
        using var decoder = new PixelDecoder(1);
        var plan = SamplingPlan.Ddim(TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 50), 0);
        var images = Enumerable.Range(0, 200).ToArray();
        var labels = images.Select(i => i % 10).ToArray();
        var judge = new NaiveDigitJudge();
        var agreed = 0;
        new DiTPipeline(model, decoder).Generate(
            images, labels, new SamplingSettings(plan, new ImageNoise(1), 2, 3), 20, image => agreed += judge.Classify(image.Pixels!) == image.Label ? 1 : 0);
        TestContext.Out.WriteLine($"agreement {agreed / 200.0:P1}");
        Assert.That(agreed, Is.GreaterThanOrEqualTo(190));
    }
}
