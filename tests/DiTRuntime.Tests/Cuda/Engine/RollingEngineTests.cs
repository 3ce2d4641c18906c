using DiTRuntime.Cuda;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Devices.Emulated;
using DiTRuntime.Cuda.Planning;
using DiTRuntime.Models;
using DiTRuntime.Tests.Backends;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary>Rolling batches on the engine: shapes that are padded and recorded.</summary>
[TestFixture]
internal sealed class RollingEngineTests
{
    [Test]
    [Category(TestDevice.Category)]
    public void Image_has_the_bits_it_has_alone_whatever_else_runs([Values(1, 2)] int seed, [Values] bool usesGraphs)
    {
        using var tiny = new TinyModel(EmulatedEngine.Create(new CudaOptions(UsesGraphs: usesGraphs)));
        using var batch = new RollingBatch(tiny.Model, new RollingLimits(7, 7, 24 * ModulationTable.RowBytes(tiny.Model.Config)));
        Assert.That(new RollingScene(tiny.Model, seed, mostSteps: 4).Run(batch, 10), Is.GreaterThan(4));
    }

    [Test]
    [Category(TestDevice.Category)]
    public void Packed_images_have_the_bits_they_have_alone([Values("w8a8-g96", "w8a8-g0")] string format)
    {
        using var backend = EmulatedEngine.Create();
        using var model = new DiTModel(DigitModels.Open(format), backend, Compatibility.Official);
        using var batch = new RollingBatch(model, new RollingLimits(5, 5));
        Assert.That(new RollingScene(model, 3, mostSteps: 3).Run(batch, 5), Is.GreaterThan(2));
    }

    [Test]
    public void Step_allocates_nothing([Values("f16", "w4a8-g128", "w8a8-g0")] string format)
    {
        using var backend = new CudaBackend(new PlanningDevice(GpuModels.Typical(90)), new PlanningCompiler());
        using var model = new DiTModel(PlannedModels.DiTXL2(format), backend, Compatibility.Official);
        using var batch = new RollingBatch(model, new RollingLimits(16, 16, 1L << 30));
        batch.Warm();
        foreach (var (sampler, scale) in new[] { ("ddpm", 4f), ("ddim", 1f), ("ddim", 2f) })
            Assert.That(batch.TryAdd(new RollingImage(1, 7, RollingScene.Plan(sampler, "linspace", 100), scale, 3)));
        batch.Step();
        var (device, least) = (backend.UsedBytes, long.MaxValue);
        for (var round = 0; round < 5; round++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < 10; i++) batch.Step();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.That(batch.Images, Has.Count.EqualTo(3));
        Assert.That(least, Is.Zero);
        Assert.That((backend.UsedBytes, backend.PeakBytes), Is.EqualTo((device, device)));
    }

    [Test]
    public void Warming_compiles_and_records_all_that_steps_need()
    {
        var compiler = new PlanningCompiler();
        using var hooked = new HookedBackend(new CudaBackend(new PlanningDevice(GpuModels.Typical(90)), compiler));
        using var model = new DiTModel(PlannedModels.DiTXL2("w8a8-g0"), hooked, Compatibility.Official);
        using var batch = new RollingBatch(model, new RollingLimits(12, 12, 1L << 30));
        batch.Warm();
        // Recorded steps call no operation.
        var calls = 0;
        hooked.Before = name => calls += name == nameof(HookedBackend.Attention) ? 1 : 0;
        for (var images = 1; images <= 12; images++)
        {
            Assert.That(batch.TryAdd(new RollingImage(1, 7, RollingScene.Plan("ddim", "linspace", 50), 1, 3)));
            batch.Step();
        }

        Assert.That(calls, Is.Zero);
    }

    [Test]
    [Category(TestDevice.Category)]
    public void Too_little_memory_is_told_when_the_batch_is_made_and_leaves_nothing_behind()
    {
        using var device = new EmulatedDevice(TestDevice.EmulatedCompiler, new EmulatedDeviceOptions { MemoryBytes = 64L << 20 });
        using var backend = new CudaBackend(device, TestDevice.EmulatedCompiler);
        using var model = new DiTModel(DigitModels.Open("f16"), backend, Compatibility.Official);
        var loaded = device.AllocatedBytes;
        Assert.That(() => new RollingBatch(model, new RollingLimits(1024, 1024, 1 << 20)), Throws.InstanceOf<GpuOutOfMemoryException>());
        Assert.That(device.AllocatedBytes, Is.EqualTo(loaded));
        using (var batch = new RollingBatch(model, new RollingLimits(2, 2, 1 << 20))) Assert.That(batch.SampleLimit, Is.EqualTo(2));
        Assert.That(device.AllocatedBytes, Is.EqualTo(loaded));
    }

    [Test]
    [Category(TestDevice.Category)]
    public void Memory_that_runs_out_in_a_step_makes_smaller_passes_of_the_same_bits([Values] bool warms)
    {
        // One group a row: the hidden rows pass through scratch memory, which grows with the samples of a pass.
        using var device = new EmulatedDevice(TestDevice.EmulatedCompiler, new EmulatedDeviceOptions { MemoryBytes = 1L << 30 });
        using var unlimited = new CudaBackend(device, TestDevice.EmulatedCompiler);
        using var reference = new DiTModel(DigitModels.Open("w8a8-g0"), unlimited, Compatibility.Official);
        var scene = new RollingScene(reference, 1, mostSteps: 3);

        using var backend = new CudaBackend(device, TestDevice.EmulatedCompiler, new CudaOptions(MemoryLimitBytes: LimitFor(device)));
        using var model = new DiTModel(DigitModels.Open("w8a8-g0"), backend, Compatibility.Official);
        using var batch = new RollingBatch(model, Limits);
        if (warms) batch.Warm();
        RollingImage[] images = [.. Enumerable.Range(0, 4).Select(i => new RollingImage(i, 3, RollingScene.Plan("ddpm", "linspace", 5), 1, 1))];
        foreach (var image in images[..2]) Assert.That(batch.TryAdd(image));
        // The pass of two is recorded, and holds the address of its scratch memory, when the one of four asks for more.
        for (var i = 0; i < 3; i++) batch.Step();
        foreach (var image in images[2..]) Assert.That(batch.TryAdd(image));
        while (batch.Images.Count > 0) batch.Step();
        Assert.That(batch.SampleLimit, Is.EqualTo(2));
        foreach (var image in images) scene.AssertAsAlone(image);
    }

    private static RollingLimits Limits => new(4, 4, 1 << 20);

    /// <summary>Enough for the batch and the scratch memory of two samples, not of four.</summary>
    private static long LimitFor(EmulatedDevice device)
    {
        using var backend = new CudaBackend(device, TestDevice.EmulatedCompiler);
        using var model = new DiTModel(DigitModels.Open("w8a8-g0"), backend, Compatibility.Official);
        using var batch = new RollingBatch(model, Limits);
        var (before, scratch) = (backend.UsedBytes, new List<long>());
        foreach (var count in new[] { 2, 4 })
        {
            for (var i = 0; i < count; i++) batch.TryAdd(new RollingImage(0, 1, RollingScene.Plan("ddim", "linspace", 1), 1, 1));
            batch.Step();
            scratch.Add(backend.UsedBytes - before);
        }

        Assert.That(scratch[1], Is.GreaterThan(scratch[0]));
        return before + (scratch[0] + scratch[1]) / 2;
    }
}
