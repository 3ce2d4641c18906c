using DiTRuntime.Cuda;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Planning;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary>What a sampling step launches, as the recorder sees it.</summary>
[TestFixture]
internal sealed class LaunchListTests
{
    private static string GoldenFolder => TestFiles.Golden("launches");

    [Test]
    public void Block_of_DiT_XL_takes_seven_kernels_or_eight(
        [Values("f16", "w4a16-g128", "w8a8-g96", "w8a8-g144", "w4a8-g288", "w8a8-g64", "w8a8-g128", "w4a8-g0", "k256-d4", "k64-d2", "pq-k256-d8", "k256-d4-a8-g96", "k65536-d8")] string format)
    {
        // Patches in, the end of the step: two kernels beside the block.
        var perBlock = Step(PlannedModels.DiTXL2(format)).Count - 2;
        // Groups of 96, 144 and 288 lie in whole heads of 72: four heads make three groups, two make one, four make one. Groups of 64 and 128 take
        // all sixteen; one group a row is quantized with the attention, but not with the MLP, whose rows no tile holds.
        // Codebooks that are looked up need no kernel of their own; those that fit nowhere one for each product.
        Assert.That(perBlock, Is.EqualTo(format is "w8a8-g64" or "w8a8-g128" or "w4a8-g0" ? 8 : format == "k65536-d8" ? 11 : 7));
    }

    [Test]
    public void Launch_list_is_stable([Values("f16", "w8a8-g96", "w4a8-g96", "k256-d4")] string format)
    {
        var actual = string.Join('\n', Step(DigitModels.Open(format)).Select(launch => launch.ToString())) + "\n";
        var path = Path.Combine(GoldenFolder, $"digits-{format}.txt");
        if (Environment.GetEnvironmentVariable("DIT_UPDATE_GOLDENS") == "1")
        {
            Directory.CreateDirectory(GoldenFolder);
            File.WriteAllText(path, actual);
        }

        Assert.That(actual, Is.EqualTo(File.ReadAllText(path)));
    }

    /// <summary>The launches of one guided step of one image, recorded as a graph.</summary>
    private static List<RecordedLaunch> Step(DiTWeights weights)
    {
        using var recorder = new RecordingDevice(new PlanningDevice(GpuModels.Typical(90)));
        using var backend = new CudaBackend(recorder, new PlanningCompiler());
        using var model = new DiTModel(weights, backend, Compatibility.Official);
        var plan = SamplingPlan.Create("ddim", TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 4), 0, model.Config.LearnsVariance);
        using var batch = new SamplingBatch(model, new SamplingSettings(plan, new ImageNoise(5), 2, 1), [0], [3]);
        batch.Step();
        batch.Step();
        return [.. recorder.Graphs.Single().OfType<RecordedLaunch>()];
    }
}
