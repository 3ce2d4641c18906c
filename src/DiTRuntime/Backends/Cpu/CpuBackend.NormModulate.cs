using DiTRuntime.Backends.Cpu.LowBit;

namespace DiTRuntime.Backends.Cpu;

/// <summary>y = LN(x)·(1 + scale) + shift per token. Bound: bytes, all in the first cache.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    private const int RowsPerTask = 16;

    /// <inheritdoc/>
    public override void NormModulate(Tensor tokens, in Modulation modulation, int shiftChunk, float epsilon, Tensor output)
    {
        TensorCheck.NormModulate(this, tokens, modulation, shiftChunk, output);
        var job = new NormModulateJob
        {
            Tokens = Floats(tokens),
            Output = output is CpuTensor floats ? floats.Floats : null,
            Quantized = output is CpuActivations quantized ? new ActivationTarget(quantized) : default,
            Table = Floats(modulation.Table) + shiftChunk * tokens.RowLength,
            TableStride = modulation.Table.RowLength,
            RowOfSample = Rows(modulation),
            RowCount = tokens.RowCount,
            RowsPerSample = tokens.Shape[1],
            Width = tokens.RowLength,
            Epsilon = epsilon,
        };
        Pool.Run(job, DivideUp(job.RowCount, RowsPerTask), job.Width * sizeof(float));
        KeepAlive(tokens, modulation.Table, modulation.RowOfSample, modulation.Step, output);
    }

    private struct NormModulateJob : IJob
    {
        public float* Tokens;
        public float* Output;
        public ActivationTarget Quantized;
        public float* Table;
        public int TableStride;
        public int* RowOfSample;
        public int RowCount;
        public int RowsPerSample;
        public int Width;
        public float Epsilon;

        public readonly void Execute(int task, byte* scratch)
        {
            var end = Math.Min((task + 1) * RowsPerTask, RowCount);
            for (var row = task * RowsPerTask; row < end; row++)
            {
                var shift = Table + (long)RowOfSample[row / RowsPerSample] * TableStride;
                var y = Output == null ? (float*)scratch : Output + (long)row * Width;
                Normalize(Tokens + (long)row * Width, shift, shift + Width, y);
                if (Output == null) Quantized.QuantizeRow(y, Width, row);
            }
        }

        private readonly void Normalize(float* x, float* shift, float* scale, float* y)
        {
            var mean = VectorMath<TSimd, TVec>.Sum(x, Width) / Width;
            var variance = VectorMath<TSimd, TVec>.SumOfSquares(x, Width, mean) / Width;
            var reciprocal = 1 / MathF.Sqrt(variance + Epsilon);
            var lanes = TSimd.Lanes;
            var m = TSimd.Broadcast(mean);
            var s = TSimd.Broadcast(reciprocal);
            var one = TSimd.Broadcast(1f);
            var i = 0;
            for (; i <= Width - lanes; i += lanes)
            {
                var n = TSimd.Multiply(TSimd.Subtract(TSimd.Load(x + i), m), s);
                TSimd.Store(TSimd.MultiplyAdd(n, TSimd.Add(one, TSimd.Load(scale + i)), TSimd.Load(shift + i)), y + i);
            }

            for (; i < Width; i++) y[i] = MathF.FusedMultiplyAdd((x[i] - mean) * reciprocal, 1 + scale[i], shift[i]);
        }
    }
}
