using DiTRuntime.Backends.Cpu.LowBit;

namespace DiTRuntime.Backends.Cpu;

/// <summary>Outputs that are quantized after the fact, where an operation's tasks do not hold whole groups.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    private NativeBuffer? _staging;

    /// <summary>Where an operation stores its floats: the output itself, or for a quantized one what <see cref="FinishStaging"/> quantizes.</summary>
    private float* Staging(Tensor output) => output is CpuTensor floats ? floats.Floats : Grow(ref _staging, (long)output.Count * sizeof(float)).Floats;

    private void FinishStaging(float* staging, Tensor output)
    {
        if (output is not CpuActivations quantized) return;
        var job = new QuantizeJob { Values = staging, Target = new ActivationTarget(quantized), RowCount = output.RowCount, Width = output.RowLength };
        Pool.Run(job, DivideUp(job.RowCount, RowsPerTask));
    }

    private struct QuantizeJob : IJob
    {
        public float* Values;
        public ActivationTarget Target;
        public int RowCount;
        public int Width;

        public readonly void Execute(int task, byte* scratch)
        {
            var end = Math.Min((task + 1) * RowsPerTask, RowCount);
            for (var row = task * RowsPerTask; row < end; row++) Target.QuantizeRow(Values + (long)row * Width, Width, row);
        }
    }
}
