namespace DiTRuntime.Backends.Cpu;

/// <summary>Σ(x − target)² in fp64, and ∂x += 2·weight·(x − target). Bound: bytes.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    private NativeBuffer? _errorSums;

    /// <inheritdoc/>
    public override double SquaredErrorGradient(Tensor x, Tensor target, float weight, Tensor gradient)
    {
        TensorCheck.SquaredErrorGradient(this, x, target, gradient);
        var taskCount = DivideUp(x.Count, ValuesPerTask);
        var sums = (double*)Grow(ref _errorSums, (long)taskCount * sizeof(double)).Start;
        Pool.Run(new SquaredErrorJob { X = Floats(x), Target = Floats(target), Factor = 2 * weight, Gradient = Floats(gradient), Sums = sums, Count = x.Count }, taskCount);
        KeepAlive(x, target, gradient);
        double sum = 0;
        for (var task = 0; task < taskCount; task++) sum += sums[task];
        return sum;
    }

    private struct SquaredErrorJob : IJob
    {
        public float* X;
        public float* Target;
        public float Factor;
        public float* Gradient;
        public double* Sums;
        public int Count;

        public readonly void Execute(int task, byte* scratch)
        {
            var end = Math.Min((task + 1) * ValuesPerTask, Count);
            double sum = 0;
            for (var i = task * ValuesPerTask; i < end; i++)
            {
                var error = X[i] - Target[i];
                sum += (double)error * error;
                Gradient[i] = MathF.FusedMultiplyAdd(Factor, error, Gradient[i]);
            }

            Sums[task] = sum;
        }
    }
}
