using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>condition[r] = SiLU(timestepEmbedding[r] + labelTable[labels[r]]).</summary>
/// <param name="library">The device's kernels.</param>
internal sealed class ConditionKernel(KernelLibrary library)
{
    private const int Threads = 128;
    private readonly Dictionary<int, GpuKernel> _kernels = [];

    /// <summary>Launches; the labels were checked against the table.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="timestepEmbedding">f16 [rows, hidden].</param>
    /// <param name="labelTable">f32 [classes + 1, hidden].</param>
    /// <param name="labels">s32 [rows].</param>
    /// <param name="rows">Rows.</param>
    /// <param name="hidden">H, a multiple of 8.</param>
    /// <param name="condition">f16 [rows, hidden].</param>
    public void Launch(GpuStream stream, DevicePointer timestepEmbedding, DevicePointer labelTable, DevicePointer labels, int rows, int hidden, DevicePointer condition)
    {
        if (!_kernels.TryGetValue(hidden, out var kernel)) _kernels.Add(hidden, kernel = library.Get(Spec(hidden)));
        var shape = new LaunchShape((rows * (hidden / 8) + Threads - 1) / Threads, 1, 1, Threads, 0);
        stream.Launch(kernel, shape, new ConditionArguments { TimestepEmbedding = timestepEmbedding, LabelTable = labelTable, Labels = labels, Condition = condition, Rows = rows });
    }

    /// <summary>The specialisation for a hidden size.</summary>
    /// <exception cref="GpuUnavailableException">H is no multiple of 8.</exception>
    public static KernelSpec Spec(int hidden)
    {
        TokenWidth.Check("conditioning", hidden);
        return new KernelSpec("embed/condition.cu", "condition_kernel", ("HIDDEN", hidden));
    }
}
