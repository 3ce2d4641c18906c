using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Devices.Emulated;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary>What goes wrong on a device of its own: told in one line, and nothing is left behind.</summary>
[TestFixture]
internal sealed class EngineFaultTests
{
    [TestCase(1 << 20)]
    [TestCase(6 << 20)]
    [TestCase(17 << 20)]
    public void Out_of_memory_while_loading_leaves_nothing_behind(int memoryBytes)
    {
        using var device = Device(memoryBytes);
        using (var backend = new CudaBackend(device, TestDevice.EmulatedCompiler))
        {
            var before = device.AllocatedBytes;
            Assert.That(
                () => new DiTModel(DigitModels.Open("f16"), backend, Compatibility.Official),
                Throws.InstanceOf<GpuOutOfMemoryException>().With.Property(nameof(DiTException.ExitCode)).EqualTo(ExitCode.OutOfMemory));
            Assert.That(device.AllocatedBytes, Is.EqualTo(before), "the model gave back what it had");
        }

        Assert.That(device.AllocatedBytes, Is.Zero);
    }

    [Test]
    public void A_limit_is_kept_before_the_device_is_asked()
    {
        using var device = Device(1L << 30);
        using var backend = new CudaBackend(device, TestDevice.EmulatedCompiler, new CudaOptions(MemoryLimitBytes: 1 << 20));
        Assert.That(() => backend.Allocate(ElementType.F32, 1 << 18), Throws.InstanceOf<GpuOutOfMemoryException>().With.Message.Contains("limit of 1,048,576"));
        using var fits = backend.Allocate(ElementType.F32, 1 << 16);
        Assert.That(backend.UsedBytes, Is.LessThanOrEqualTo(1 << 20));
    }

    [Test]
    public void Cancelled_sampling_gives_its_memory_back()
    {
        using var device = Device(1L << 30);
        using var cancellation = new CancellationTokenSource();
        using (var backend = new CudaBackend(device, TestDevice.EmulatedCompiler) { Cancellation = cancellation.Token })
        {
            using var model = new DiTModel(DigitModels.Open("f16"), backend, Compatibility.Official);
            var loaded = device.AllocatedBytes;
            var plan = SamplingPlan.Create("ddim", TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 10), 0, learnsVariance: true);
            using (var batch = new SamplingBatch(model, new SamplingSettings(plan, new ImageNoise(0), 1, 1), [0], [3]))
            {
                // The third is replayed: no operation is called that would look at the token.
                for (var i = 0; i < 3; i++) batch.Step();
                cancellation.Cancel();
                Assert.That(batch.Step, Throws.InstanceOf<OperationCanceledException>());
            }

            Assert.That(device.AllocatedBytes, Is.EqualTo(loaded));
        }

        Assert.That(device.AllocatedBytes, Is.Zero);
    }

    [Test]
    public void Tensors_may_outlive_their_backend()
    {
        using var device = Device(1L << 30);
        var backend = new CudaBackend(device, TestDevice.EmulatedCompiler);
        var tensor = backend.Allocate(ElementType.F32, 4);
        backend.Dispose();
        tensor.Dispose();
        Assert.That(device.AllocatedBytes, Is.Zero);
        Assert.That(backend.Dispose, Throws.Nothing);
    }

    [Test]
    public void A_kernel_that_does_not_compile_shows_the_log_and_the_backend_lives()
    {
        var sources = new Dictionary<string, string>(KernelSources.All);
        sources["embed/condition.cu"] = "#include \"common/ptx.cuh\"\nthis is no kernel\n";
        using var device = Device(1L << 30);
        using var backend = new CudaBackend(device, new HostCompiler(sources));
        using var embedding = backend.AllocateActivations(null, 1, 64);
        using var table = backend.Allocate(ElementType.F32, 1, 64);
        using var labels = backend.Allocate(ElementType.I32, 1);
        using var output = backend.AllocateActivations(null, 1, 64);
        Assert.That(
            () => backend.Condition(embedding, table, labels, output),
            Throws.InstanceOf<KernelCompilationException>().With.Message.Contains("embed/condition.cu").And.Message.Contains("this"));
        backend.Upload<float>(new float[64], embedding);
        Assert.That(() => backend.Download(embedding, new float[64].AsSpan()), Throws.Nothing);
    }

    [Test]
    public void Tensors_of_another_kind_are_refused()
    {
        using var backend = EmulatedEngine.Create();
        using var plain = backend.Allocate(ElementType.F32, 1, 64);
        using var table = backend.Allocate(ElementType.F32, 1, 64);
        using var labels = backend.Allocate(ElementType.I32, 1);
        Assert.That(() => backend.Condition(plain, table, labels, plain), Throws.ArgumentException.With.Message.Contains("AllocateActivations"));
    }

    private static EmulatedDevice Device(long memoryBytes) => new(TestDevice.EmulatedCompiler, new EmulatedDeviceOptions { MemoryBytes = memoryBytes });
}
