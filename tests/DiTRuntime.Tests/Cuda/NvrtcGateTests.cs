using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Tests.Cuda.Compilation;

namespace DiTRuntime.Tests.Cuda;

/// <summary>What NVIDIA's compiler says of every kernel, for every architecture; no GPU is needed to hear it.</summary>
[Parallelizable(ParallelScope.All)]
internal sealed class NvrtcGateTests
{
    [TestCaseSource(typeof(KernelCatalog), nameof(KernelCatalog.Cases))]
    public void Compiles_without_a_warning_or_a_spill(CatalogKernel kernel, TargetArchitecture target)
    {
        var image = TestCompilers.Compile(kernel.Spec, target);
        var report = CompilationReport.Parse(image.Log);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(report, Is.Not.Null, image.Log);
            Assert.That(report?.Warnings, Is.Empty, image.Log);
            Assert.That(report?.Spills, Is.False, image.Log);
            // Static shared memory would be invisible to the emulator's checks, and is not counted by the launchers.
            Assert.That(report?.SharedBytes, Is.Zero, image.Log);
        }
    }
}
