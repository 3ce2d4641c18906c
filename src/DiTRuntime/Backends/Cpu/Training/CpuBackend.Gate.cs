namespace DiTRuntime.Backends.Cpu;

/// <summary>x += gate·y; ∂y = gate·∂x, ∂gate = Σ ∂x·y over a sample's tokens. Bound: bytes.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <inheritdoc/>
    public override void GateForward(Tensor y, Tensor modulation, int gateChunk, Tensor x)
    {
        TensorCheck.GateForward(this, y, modulation, gateChunk, x);
        var job = new GateJob
        {
            Y = Floats(y),
            Gate = Floats(modulation) + gateChunk * y.RowLength,
            GateStride = modulation.RowLength,
            X = Floats(x),
            RowCount = y.RowCount,
            RowsPerSample = y.Shape[1],
            Width = y.RowLength,
        };
        Pool.Run(job, DivideUp(job.RowCount, RowsPerTask));
        KeepAlive(y, modulation, x);
    }

    /// <inheritdoc/>
    public override void GateGradient(Tensor sumGradient, Tensor y, Tensor modulation, int gateChunk, Tensor inputGradient, Tensor modulationGradient)
    {
        TensorCheck.GateGradient(this, sumGradient, y, modulation, gateChunk, inputGradient, modulationGradient);
        var job = new GateGradientJob
        {
            SumGradient = Floats(sumGradient),
            Y = Floats(y),
            Gate = Floats(modulation) + gateChunk * y.RowLength,
            GateStride = modulation.RowLength,
            InputGradient = Floats(inputGradient),
            GateGradient = Floats(modulationGradient) + gateChunk * y.RowLength,
            GradientStride = modulationGradient.RowLength,
            RowsPerSample = y.Shape[1],
            Width = y.RowLength,
        };
        Pool.Run(job, y.Shape[0] * job.Blocks);
        KeepAlive(sumGradient, y, modulation, inputGradient, modulationGradient);
    }

    private struct GateJob : IJob
    {
        public float* Y;
        public float* Gate;
        public int GateStride;
        public float* X;
        public int RowCount;
        public int RowsPerSample;
        public int Width;

        public readonly void Execute(int task, byte* scratch)
        {
            var end = Math.Min((task + 1) * RowsPerTask, RowCount);
            for (var row = task * RowsPerTask; row < end; row++)
            {
                var gate = Gate + (long)(row / RowsPerSample) * GateStride;
                var y = Y + (long)row * Width;
                var x = X + (long)row * Width;
                for (var i = 0; i < Width; i += TSimd.Lanes)
                    Store(TSimd.MultiplyAdd(Load(gate + i, Width - i), Load(y + i, Width - i), Load(x + i, Width - i)), x + i, Width - i);
            }
        }
    }

    /// <summary>Some columns of one sample.</summary>
    private struct GateGradientJob : IJob
    {
        public float* SumGradient;
        public float* Y;
        public float* Gate;
        public int GateStride;
        public float* InputGradient;
        public float* GateGradient;
        public int GradientStride;
        public int RowsPerSample;
        public int Width;

        public readonly int Blocks => DivideUp(Width, ColumnsPerTask);

        public readonly void Execute(int task, byte* scratch)
        {
            var sample = task / Blocks;
            var first = task % Blocks * ColumnsPerTask;
            var count = Math.Min(ColumnsPerTask, Width - first);
            var gate = Gate + (long)sample * GateStride + first;
            var sums = GateGradient + (long)sample * GradientStride + first;
            new Span<float>(sums, count).Clear();
            for (var row = sample * RowsPerSample; row < (sample + 1) * RowsPerSample; row++)
            {
                var offset = (long)row * Width + first;
                for (var i = 0; i < count; i += TSimd.Lanes)
                {
                    var g = Load(SumGradient + offset + i, count - i);
                    Store(TSimd.Multiply(g, Load(gate + i, count - i)), InputGradient + offset + i, count - i);
                    Store(TSimd.MultiplyAdd(g, Load(Y + offset + i, count - i), Load(sums + i, count - i)), sums + i, count - i);
                }
            }
        }
    }
}
