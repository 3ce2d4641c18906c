using DiTRuntime.Calibration.Training;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels.Training;
using DiTRuntime.Cuda.Planning;
using DiTRuntime.Models;

namespace DiTRuntime.Tests.Cuda.Training;

/// <summary>The kernels that training a block of DiT-XL/2 uses: what a run on a device that runs nothing asks for.</summary>
internal static class PlannedTraining
{
    /// <summary>The kernels.</summary>
    public static IReadOnlyList<KernelSpec> Kernels(TargetArchitecture target)
    {
        const int Samples = 4;
        var config = DiTConfigs.Parse("DiT-XL/2");
        var compiler = new PlanningCompiler();
        using var backend = new CudaBackend(new PlanningDevice(GpuModels.Typical(target.Number)), compiler);
        using var block = new TrainingBlock(backend, config);
        using var gradients = new BlockGradient(backend, config, Compatibility.Official, Samples);
        using var condition = backend.Allocate(ElementType.F32, Samples, config.HiddenSize);
        using var input = backend.Allocate(ElementType.F32, Samples, config.TokenCount, config.HiddenSize);
        using var output = backend.Allocate(ElementType.F32, Samples, config.TokenCount, config.HiddenSize);
        using var gradient = backend.Allocate(ElementType.F32, Samples, config.TokenCount, config.HiddenSize);
        gradients.Forward(block, condition, input, output);
        backend.SquaredErrorGradient(output, input, 1, gradient);
        gradients.Backward(block, condition, input, gradient);
        return [.. compiler.Specs, .. from length in (int[])[2, 4, 8] from isWeighted in (bool[])[false, true] select AssignKernel.Spec(length, isWeighted)];
    }
}
