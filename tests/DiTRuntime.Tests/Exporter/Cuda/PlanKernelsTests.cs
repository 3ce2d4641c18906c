using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Exporter;
using DiTRuntime.Exporter.Cuda;
using DiTRuntime.Models;
using DiTRuntime.Tests.Cuda.Compilation;
using DiTRuntime.Tests.Cuda.Engine;

namespace DiTRuntime.Tests.Exporter.Cuda;

/// <summary>What NVIDIA's compiler makes of the kernels of a plan; no GPU is needed.</summary>
[TestFixture]
internal sealed class PlanKernelsTests
{
    [Test]
    public void Cubins_are_compiled_without_spills([Values("sm_87", "sm_90a")] string name, [Values("f16", "w4a8-g96")] string format)
    {
        var architecture = CudaArchitecture.Parse(name);
        var compiler = new CachingCompiler(new NvrtcCompiler(TestCompilers.Nvrtc, TargetArchitecture.Parse(name)), TestCompilers.Cache);
        using var recorder = new PlanRecorder(new ExportSource("digits", () => DigitModels.Open(format), null), Compatibility.Official, 64, architecture.Device, holdsData: false);
        var plan = recorder.Record(1, _ => 2);
        var images = PlanKernels.Compile(plan, compiler, CancellationToken.None);
        foreach (var image in images)
        {
            Assert.That(image.Code.AsSpan(1, 3).SequenceEqual("ELF"u8), image.Title);
            Assert.That(CompilationReport.Parse(image.Log), Has.Property("Spills").False, image.Title);
        }

        Assert.That(plan.Kernels.Select(kernel => kernel.SharedBytes), Has.All.LessThanOrEqualTo(architecture.Device.SharedMemoryPerBlock));
    }

    [Test]
    public void A_spill_is_an_error()
    {
        using var recorder = new PlanRecorder(new ExportSource("digits", () => DigitModels.Open("f16"), null), Compatibility.Official, 64, CudaArchitecture.Parse("sm_87").Device, holdsData: false);
        var plan = recorder.Record(1, _ => 2);
        Assert.That(() => PlanKernels.Compile(plan, new SpillingCompiler(), CancellationToken.None), Throws.InstanceOf<GpuException>().With.Message.Contains("8 bytes are spilled"));
    }

    [TestCase("sm_75")]
    [TestCase("orin")]
    public void An_architecture_that_there_is_not_is_refused(string name) => Assert.That(() => CudaArchitecture.Parse(name), Throws.InstanceOf<UsageException>().With.Message.Contains(name));

    private sealed class SpillingCompiler : IKernelCompiler
    {
        public string Identity => "spills";

        public KernelImage Compile(KernelSpec spec) =>
            new(spec.Text, [1], "0 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\nUsed 255 registers");
    }
}
