using DiTRuntime.Cuda;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Planning;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary>A step that has run twice takes nothing more, neither of the host nor of the device.</summary>
[TestFixture]
internal sealed class EngineAllocationTests
{
    [Test]
    public void Step_allocates_nothing([Values] bool usesGraphs, [Values("f16", "w4a8-g128", "w8a8-g0")] string format)
    {
        using var backend = new CudaBackend(new PlanningDevice(GpuModels.Typical(90)), new PlanningCompiler(), new CudaOptions(UsesGraphs: usesGraphs));
        using var model = new DiTModel(PlannedModels.DiTXL2(format), backend, Compatibility.Official);
        var plan = SamplingPlan.Create("ddpm", TimestepSpacing.Linspace.Respace(NoiseSchedule.Linear(), 100), 0, learnsVariance: true);
        using var batch = new SamplingBatch(model, new SamplingSettings(plan, new ImageNoise(3), 4, 3), [0, 1], [3, 4]);
        for (var i = 0; i < 3; i++) batch.Step();
        var (device, least) = (backend.UsedBytes, long.MaxValue);
        for (var round = 0; round < 5; round++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < 10; i++) batch.Step();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.That(least, Is.Zero);
        Assert.That((backend.UsedBytes, backend.PeakBytes), Is.EqualTo((device, device)));
    }
}
