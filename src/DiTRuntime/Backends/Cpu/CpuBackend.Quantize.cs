using DiTRuntime.Backends.Cpu.LowBit;

namespace DiTRuntime.Backends.Cpu;

/// <summary>Outputs that are quantized after the fact, where an operation's tasks do not hold whole groups.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    private CpuTensor? _staging;

    /// <summary>Runs an operation into floats and quantizes them, or straight into the output where it holds floats.</summary>
    private CpuTensor Staging(Tensor output)
    {
        if (output is CpuTensor floats) return floats;
        if (_staging is null || !_staging.Shape.SequenceEqual(output.Shape))
        {
            _staging?.Dispose();
            _staging = new CpuTensor(this, Checkpoints.ElementType.F32, output.Shape);
        }

        return _staging;
    }

    private void FinishStaging(CpuTensor staging, Tensor output)
    {
        if (output is not CpuActivations quantized) return;
        var job = new QuantizeJob { Values = staging.Floats, Target = new ActivationTarget(quantized), RowCount = output.RowCount, Width = output.RowLength };
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
