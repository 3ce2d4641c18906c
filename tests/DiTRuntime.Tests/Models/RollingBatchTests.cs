using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Models;

/// <summary>What a rolling batch promises: the bits of each image, its places, and that a step allocates nothing.</summary>
[TestFixture]
internal sealed class RollingBatchTests
{
    [Test]
    public void Image_has_the_bits_it_has_alone_whatever_else_runs([Values(1, 2, 3)] int seed, [Values("tiny", "synthetic", "w8a8", "w4a16")] string format)
    {
        using var folder = new TestFolder();
        using var backend = CpuBackend.Create(new CpuOptions(2));
        using var model = new DiTModel(Open(format, folder), backend, Compatibility.Official);
        // Rows for two or three plans with their null class: the table is short, so rows are let go of and made again.
        using var batch = new RollingBatch(model, new RollingLimits(2 + 3 * seed, 1 + 2 * seed, 30 * ModulationTable.RowBytes(model.Config)));
        Assert.That(batch.TableRowCount, Is.EqualTo(30));
        Assert.That(new RollingScene(model, seed).Run(batch, 30), Is.GreaterThan(15));
        Assert.That((batch.FreeCount, batch.Images.Count), Is.EqualTo((2 + 3 * seed, 0)));
    }

    [Test]
    public void Reference_backend_agrees_with_itself()
    {
        using var tiny = new TinyModel(new ReferenceBackend());
        using var batch = new RollingBatch(tiny.Model, new RollingLimits(4, 4));
        Assert.That(new RollingScene(tiny.Model, 5, mostSteps: 3).Run(batch, 4), Is.GreaterThan(1));
    }

    [Test]
    public void Step_allocates_nothing([Values("tiny", "w8a8")] string format)
    {
        using var folder = new TestFolder();
        using var backend = CpuBackend.Create(new CpuOptions(2));
        using var model = new DiTModel(Open(format, folder), backend, Compatibility.Official);
        using var batch = new RollingBatch(model, new RollingLimits(8, 8));
        foreach (var (sampler, scale) in new[] { ("ddpm", 4f), ("ddim", 1f), ("ddim", 2f) })
            batch.TryAdd(new RollingImage(1, 7, RollingScene.Plan(sampler, "linspace", 150), scale, 3));
        // An image that has gone leaves a smaller shape behind.
        var passing = new RollingImage(2, 7, RollingScene.Plan("ddim", "linspace", 2), 1, 3);
        batch.TryAdd(passing);
        while (passing.State == RollingState.Running) batch.Step();
        batch.Step();
        var (ownThread, process) = (long.MaxValue, long.MaxValue);
        for (var round = 0; round < 10; round++)
        {
            var (ownBefore, processBefore) = (GC.GetAllocatedBytesForCurrentThread(), GC.GetTotalAllocatedBytes(precise: true));
            for (var i = 0; i < 10; i++) batch.Step();
            process = Math.Min(process, GC.GetTotalAllocatedBytes(precise: true) - processBefore);
            ownThread = Math.Min(ownThread, GC.GetAllocatedBytesForCurrentThread() - ownBefore);
        }

        Assert.That(batch.Images, Has.Count.EqualTo(3));
        Assert.That(ownThread, Is.Zero, "the caller's thread");
        Assert.That(process, Is.LessThan(512), "all threads, ten steps");
    }

    [Test]
    public void A_full_batch_admits_no_more_until_one_leaves()
    {
        using var tiny = new TinyModel(CpuBackend.Create(new CpuOptions(1)));
        using var batch = new RollingBatch(tiny.Model, new RollingLimits(2, 3));
        var plan = RollingScene.Plan("ddim", "leading", 2);
        RollingImage guided = new(1, 1, plan, 4, 3), alone = new(1, 1, plan, 1, 3), next = new(2, 1, plan, 1, 3);
        Assert.That((batch.TryAdd(guided), batch.TryAdd(alone), batch.TryAdd(next)), Is.EqualTo((true, true, false)));
        Assert.That((batch.FreeCount, next.State), Is.EqualTo((0, RollingState.Waiting)));
        batch.Remove(guided);
        Assert.That((guided.State, batch.FreeCount), Is.EqualTo((RollingState.Removed, 1)));
        Assert.That(batch.TryAdd(next), "its place was free at once");
        Assert.That(() => batch.TryAdd(guided), Throws.InvalidOperationException);
        Assert.That(batch.Step(), Is.Empty);
        Assert.That(batch.Step(), Is.EqualTo(new[] { alone, next }));
        Assert.That(batch.Step(), Is.Empty);
        batch.Remove(alone);
        Assert.That(alone.State, Is.EqualTo(RollingState.Finished));
    }

    [Test]
    public void Requests_that_no_batch_can_take_are_refused()
    {
        using var tiny = new TinyModel(CpuBackend.Create(new CpuOptions(1)));
        using var batch = new RollingBatch(tiny.Model, new RollingLimits(1, 1, 5 * ModulationTable.RowBytes(tiny.Model.Config)));
        RollingImage Image(int steps, int label = 0, float scale = 1) => new(label, 1, RollingScene.Plan("ddim", "leading", steps), scale, 3);
        Assert.That(() => batch.TryAdd(Image(6)), Throws.InstanceOf<UsageException>().With.Message.Contains("6 steps need 6 rows").And.Message.Contains("has 5"));
        Assert.That(() => batch.TryAdd(Image(2, label: tiny.Model.Config.NullClass)), Throws.InstanceOf<UsageException>().With.Message.Contains("does not exist"));
        Assert.That(() => batch.TryAdd(Image(2, scale: float.NaN)), Throws.InstanceOf<UsageException>().With.Message.Contains("guidance scale"));
        Assert.That(() => batch.TryAdd(Image(2, scale: 4)), Throws.InstanceOf<UsageException>().With.Message.Contains("two samples"));
        Assert.That(batch.TryAdd(Image(5)));
    }

    [Test]
    public void A_preview_is_the_latent_of_that_step()
    {
        using var tiny = new TinyModel(CpuBackend.Create(new CpuOptions(2)));
        var plan = RollingScene.Plan("ddpm", "linspace", 4);
        using var alone = new SamplingBatch(tiny.Model, new SamplingSettings(plan, new DiTRuntime.Sampling.ImageNoise(9), 3, 3), [0], [5]);
        using var batch = new RollingBatch(tiny.Model, new RollingLimits(6, 6));
        RollingImage other = new(1, 1, plan, 1, 3), image = new(5, 9, plan, 3, 3);
        batch.TryAdd(other);
        batch.Step();
        batch.TryAdd(image);
        float[] expected = new float[tiny.Model.Config.LatentCount], actual = new float[expected.Length];
        for (var step = 0; step < 4; step++)
        {
            batch.Read(image, actual);
            alone.Read(expected);
            Assert.That(actual, Is.EqualTo(expected), $"after {step} steps");
            alone.Step();
            batch.Step();
        }

        alone.Read(expected);
        batch.Read(image, actual);
        Assert.That(actual, Is.EqualTo(expected));
        Assert.That(() => batch.Read(new RollingImage(1, 1, plan, 1, 3), actual), Throws.InvalidOperationException);
    }

    /// <summary>A model whose widths straddle vectors and panels; the golden one, as it is and packed.</summary>
    private static DiTWeights Open(string format, TestFolder folder)
    {
        switch (format)
        {
            case "tiny":
                return PackedFiles.Tiny();
            case "synthetic":
                var config = new DiTConfig { InputSize = 6, PatchSize = 2, InChannels = 3, OutChannels = 6, HiddenSize = 36, Depth = 3, HeadCount = 3, MlpSize = 100, ClassCount = 5 };
                var path = folder["synthetic.safetensors"];
                SyntheticWeights.Write(config, 7, ElementType.F32, path);
                return DiTWeightsLoader.Load(path);
            default:
                var activations = format == "w8a8" ? ActivationMode.Dynamic : ActivationMode.Float;
                return DiTWeightsLoader.Load(PackedFiles.Write(folder[$"{format}.safetensors"], new GroupFormat(format[1] - '0', 32), activations));
        }
    }
}
