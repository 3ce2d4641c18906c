using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Training;

namespace DiTRuntime.Tests.Backends.Training;

/// <summary>The CPU's training operations at each vector width.</summary>
[TestFixture(512)]
[TestFixture(256)]
[TestFixture(128)]
internal sealed class CpuTrainingTests(int vectorBits) : TrainingOperations, IDisposable
{
    private readonly CpuBackend _backend = CpuBackend.Create(new CpuOptions(2, vectorBits));

    protected override ITrainingBackend Backend => _backend;

    public void Dispose() => _backend.Dispose();
}
