namespace DiTRuntime.Backends.Cpu;

/// <summary>
/// y = (1 + a)·n + b, n = (x − mean)·r, r = 1/√(variance + ε): with g = (1 + a)·∂y, ∂x = r·(g − mean g − n·mean(g·n)), ∂b = Σ ∂y and ∂a = Σ ∂y·n
/// over a sample's tokens. Bound: bytes; two passes, because the sums run over columns.
/// </summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    private NativeBuffer? _samples, _rowMoments;

    /// <inheritdoc/>
    public override void NormModulateForward(Tensor x, Tensor modulation, int shiftChunk, float epsilon, Tensor y)
    {
        TensorCheck.NormModulateForward(this, x, modulation, shiftChunk, y);
        var samples = (int*)Grow(ref _samples, (long)x.Shape[0] * sizeof(int)).Start;
        for (var sample = 0; sample < x.Shape[0]; sample++) samples[sample] = sample;
        var job = new NormModulateJob
        {
            Tokens = Floats(x),
            Output = Floats(y),
            Table = Floats(modulation) + shiftChunk * x.RowLength,
            TableStride = modulation.RowLength,
            RowOfSample = samples,
            RowCount = x.RowCount,
            RowsPerSample = x.Shape[1],
            Width = x.RowLength,
            Epsilon = epsilon,
        };
        Pool.Run(job, DivideUp(job.RowCount, RowsPerTask));
        KeepAlive(x, modulation, y);
    }

    /// <inheritdoc/>
    public override void NormModulateGradient(
        Tensor outputGradient, Tensor x, Tensor modulation, int shiftChunk, float epsilon, Tensor inputGradient, Tensor modulationGradient)
    {
        TensorCheck.NormModulateGradient(this, outputGradient, x, modulation, shiftChunk, inputGradient, modulationGradient);
        var width = x.RowLength;
        var moments = Grow(ref _rowMoments, 2L * x.RowCount * sizeof(float)).Floats;
        var rows = new NormGradientJob
        {
            OutputGradient = Floats(outputGradient),
            X = Floats(x),
            Scale = Floats(modulation) + (shiftChunk + 1) * width,
            ScaleStride = modulation.RowLength,
            InputGradient = Floats(inputGradient),
            Moments = moments,
            RowCount = x.RowCount,
            RowsPerSample = x.Shape[1],
            Width = width,
            Epsilon = epsilon,
        };
        Pool.Run(rows, DivideUp(rows.RowCount, RowsPerTask), checked(3 * rows.PaddedWidth * sizeof(float)));
        var columns = new ModulationGradientJob
        {
            OutputGradient = rows.OutputGradient,
            X = rows.X,
            Moments = moments,
            ShiftGradient = Floats(modulationGradient) + shiftChunk * width,
            Stride = modulationGradient.RowLength,
            RowsPerSample = rows.RowsPerSample,
            Width = width,
        };
        Pool.Run(columns, x.Shape[0] * columns.Blocks);
        KeepAlive(outputGradient, x, modulation, inputGradient, modulationGradient);
    }

    /// <summary>∂x of some rows, and their mean and r.</summary>
    private struct NormGradientJob : IJob
    {
        public float* OutputGradient;
        public float* X;
        public float* Scale;
        public int ScaleStride;
        public float* InputGradient;
        public float* Moments;
        public int RowCount;
        public int RowsPerSample;
        public int Width;
        public float Epsilon;

        public readonly int PaddedWidth => DivideUp(Width, TSimd.Lanes) * TSimd.Lanes;

        public readonly void Execute(int task, byte* scratch)
        {
            var end = Math.Min((task + 1) * RowsPerTask, RowCount);
            for (var row = task * RowsPerTask; row < end; row++)
            {
                var x = X + (long)row * Width;
                var mean = VectorMath<TSimd, TVec>.Sum(x, Width) / Width;
                var reciprocal = 1 / MathF.Sqrt(VectorMath<TSimd, TVec>.SumOfSquares(x, Width, mean) / Width + Epsilon);
                Moments[2 * row] = mean;
                Moments[2 * row + 1] = reciprocal;
                AddGradient(row, mean, reciprocal, (float*)scratch);
            }
        }

        private readonly void AddGradient(int row, float mean, float reciprocal, float* normed)
        {
            var offset = (long)row * Width;
            var scale = Scale + (long)(row / RowsPerSample) * ScaleStride;
            var gradients = normed + PaddedWidth;
            var products = gradients + PaddedWidth;
            var (m, r, one) = (TSimd.Broadcast(mean), TSimd.Broadcast(reciprocal), TSimd.Broadcast(1f));
            for (var i = 0; i < Width; i += TSimd.Lanes)
            {
                var n = TSimd.Multiply(TSimd.Subtract(Load(X + offset + i, Width - i), m), r);
                var g = TSimd.Multiply(TSimd.Add(one, Load(scale + i, Width - i)), Load(OutputGradient + offset + i, Width - i));
                TSimd.Store(n, normed + i);
                TSimd.Store(g, gradients + i);
                TSimd.Store(TSimd.Multiply(n, g), products + i);
            }

            var meanGradient = TSimd.Broadcast(VectorMath<TSimd, TVec>.Sum(gradients, Width) / Width);
            var minusMeanProduct = TSimd.Broadcast(-VectorMath<TSimd, TVec>.Sum(products, Width) / Width);
            for (var i = 0; i < Width; i += TSimd.Lanes)
            {
                var centered = TSimd.MultiplyAdd(TSimd.Load(normed + i), minusMeanProduct, TSimd.Subtract(TSimd.Load(gradients + i), meanGradient));
                var target = InputGradient + offset + i;
                Store(TSimd.MultiplyAdd(centered, r, Load(target, Width - i)), target, Width - i);
            }
        }
    }

    /// <summary>Sums over the tokens of one sample, for some columns.</summary>
    private struct ModulationGradientJob : IJob
    {
        public float* OutputGradient;
        public float* X;
        public float* Moments;
        public float* ShiftGradient;
        public int Stride;
        public int RowsPerSample;
        public int Width;

        public readonly int Blocks => DivideUp(Width, ColumnsPerTask);

        public readonly void Execute(int task, byte* scratch)
        {
            var sample = task / Blocks;
            var first = task % Blocks * ColumnsPerTask;
            var count = Math.Min(ColumnsPerTask, Width - first);
            var shift = ShiftGradient + (long)sample * Stride + first;
            var scale = shift + Width;
            new Span<float>(shift, count).Clear();
            new Span<float>(scale, count).Clear();
            for (var row = sample * RowsPerSample; row < (sample + 1) * RowsPerSample; row++)
            {
                var (mean, reciprocal) = (TSimd.Broadcast(Moments[2 * row]), TSimd.Broadcast(Moments[2 * row + 1]));
                var x = X + (long)row * Width + first;
                var gradient = OutputGradient + (long)row * Width + first;
                for (var i = 0; i < count; i += TSimd.Lanes)
                {
                    var g = Load(gradient + i, count - i);
                    var n = TSimd.Multiply(TSimd.Subtract(Load(x + i, count - i), mean), reciprocal);
                    Store(TSimd.Add(Load(shift + i, count - i), g), shift + i, count - i);
                    Store(TSimd.MultiplyAdd(g, n, Load(scale + i, count - i)), scale + i, count - i);
                }
            }
        }
    }
}
