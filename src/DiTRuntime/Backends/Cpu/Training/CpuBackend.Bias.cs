namespace DiTRuntime.Backends.Cpu;

/// <summary>y += b, and ∂b = Σ ∂y. Bound: bytes.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <inheritdoc/>
    public override void AddBias(Tensor bias, Tensor y)
    {
        TensorCheck.AddBias(this, bias, y);
        Pool.Run(new AddBiasJob { Bias = Floats(bias), Y = Floats(y), RowCount = y.RowCount, Width = y.RowLength }, DivideUp(y.RowCount, RowsPerTask));
        KeepAlive(bias, y);
    }

    /// <inheritdoc/>
    public override void BiasGradient(Tensor outputGradient, Tensor biasGradient)
    {
        TensorCheck.BiasGradient(this, outputGradient, biasGradient);
        var job = new BiasGradientJob
        {
            OutputGradient = Floats(outputGradient),
            BiasGradient = Floats(biasGradient),
            RowCount = outputGradient.RowCount,
            Width = outputGradient.RowLength,
        };
        Pool.Run(job, DivideUp(job.Width, ColumnsPerTask));
        KeepAlive(outputGradient, biasGradient);
    }

    private struct AddBiasJob : IJob
    {
        public float* Bias;
        public float* Y;
        public int RowCount;
        public int Width;

        public readonly void Execute(int task, byte* scratch)
        {
            var end = Math.Min((task + 1) * RowsPerTask, RowCount);
            for (var row = task * RowsPerTask; row < end; row++)
            {
                var y = Y + (long)row * Width;
                for (var i = 0; i < Width; i += TSimd.Lanes)
                    Store(TSimd.Add(Load(y + i, Width - i), Load(Bias + i, Width - i)), y + i, Width - i);
            }
        }
    }

    /// <summary>Some columns of all rows; each column is one chain of additions.</summary>
    private struct BiasGradientJob : IJob
    {
        public float* OutputGradient;
        public float* BiasGradient;
        public int RowCount;
        public int Width;

        public readonly void Execute(int task, byte* scratch)
        {
            var first = task * ColumnsPerTask;
            var count = Math.Min(ColumnsPerTask, Width - first);
            var sums = BiasGradient + first;
            new Span<float>(sums, count).Clear();
            for (var row = 0; row < RowCount; row++)
            {
                var gradient = OutputGradient + (long)row * Width + first;
                for (var i = 0; i < count; i += TSimd.Lanes)
                    Store(TSimd.Add(Load(sums + i, count - i), Load(gradient + i, count - i)), sums + i, count - i);
            }
        }
    }
}
