namespace DiTRuntime.Backends.Cpu;

/// <summary>
/// y = x·s, s = sigmoid(z), z = x·(c + d·x²), which is GELU in its tanh form; y′ = s + x·s·(1 − s)·(c + 3d·x²). Bound: multiply-adds of the exponential.
/// </summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <inheritdoc/>
    public override void GeluForward(Tensor x, Tensor y)
    {
        TensorCheck.GeluForward(this, x, y);
        Pool.Run(new GeluJob { X = Floats(x), Y = Floats(y), Count = x.Count }, DivideUp(x.Count, ValuesPerTask));
        KeepAlive(x, y);
    }

    /// <inheritdoc/>
    public override void GeluGradient(Tensor outputGradient, Tensor x, Tensor inputGradient)
    {
        TensorCheck.GeluGradient(this, outputGradient, x, inputGradient);
        var job = new GeluGradientJob { OutputGradient = Floats(outputGradient), X = Floats(x), InputGradient = Floats(inputGradient), Count = x.Count };
        Pool.Run(job, DivideUp(x.Count, ValuesPerTask));
        KeepAlive(outputGradient, x, inputGradient);
    }

    private struct GeluJob : IJob
    {
        public float* X;
        public float* Y;
        public int Count;

        public readonly void Execute(int task, byte* scratch)
        {
            var end = Math.Min((task + 1) * ValuesPerTask, Count);
            for (var i = task * ValuesPerTask; i < end; i += TSimd.Lanes)
                Store(VectorMath<TSimd, TVec>.GeluTanh(Load(X + i, end - i)), Y + i, end - i);
        }
    }

    private struct GeluGradientJob : IJob
    {
        public float* OutputGradient;
        public float* X;
        public float* InputGradient;
        public int Count;

        public readonly void Execute(int task, byte* scratch)
        {
            var end = Math.Min((task + 1) * ValuesPerTask, Count);
            for (var i = task * ValuesPerTask; i < end; i += TSimd.Lanes)
            {
                var slope = VectorMath<TSimd, TVec>.GeluTanhDerivative(Load(X + i, end - i));
                Store(TSimd.Multiply(slope, Load(OutputGradient + i, end - i)), InputGradient + i, end - i);
            }
        }
    }
}
