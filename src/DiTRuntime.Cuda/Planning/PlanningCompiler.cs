using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Planning;

/// <summary>Compiles nothing and writes down what it is asked for: the compiler of <see cref="PlanningDevice"/>.</summary>
internal sealed class PlanningCompiler : IKernelCompiler
{
    private readonly List<KernelSpec> _specs = [];

    /// <summary>What was asked for, in order.</summary>
    public IReadOnlyList<KernelSpec> Specs => _specs;

    public string Identity => "plan";

    public KernelImage Compile(KernelSpec spec)
    {
        _specs.Add(spec);
        return new KernelImage(spec.Text, [], "");
    }
}
