namespace DiTRuntime.Backends.Cpu;

/// <summary>
/// Group norm over channels-last images. Sums run per image row and channel in fp32 and are put together over the rows
/// in fp64, in order; the variance is taken about the mean in a second pass. Bound: bytes.
/// </summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    private NativeBuffer? _moments;

    /// <inheritdoc/>
    public override void GroupNorm(Tensor input, Tensor gamma, Tensor beta, in GroupNormOptions options, Tensor output)
    {
        TensorCheck.GroupNorm(this, input, gamma, beta, options, output);
        int samples = input.Shape[0], height = input.Shape[1], channels = input.Shape[3];
        var rowCount = samples * height;

        // Per image row and channel a sum; per sample and channel the mean and the factor of the normalized value.
        var moments = Grow(ref _moments, ((long)rowCount + 2L * samples) * channels * sizeof(float));
        var job = new GroupNormJob
        {
            Input = Floats(input),
            Output = Floats(output),
            Gamma = Floats(gamma),
            Beta = Floats(beta),
            RowSums = moments.Floats,
            Means = moments.Floats + (long)rowCount * channels,
            Factors = moments.Floats + ((long)rowCount + samples) * channels,
            Height = height,
            Width = input.Shape[2],
            Channels = channels,
            GroupSize = channels / options.GroupCount,
            Epsilon = options.Epsilon,
            Activation = options.Activation,
            Pass = GroupNormPass.Sum,
        };
        new Span<float>(job.Means, samples * channels).Clear();
        Pool.Run(job, rowCount);
        job.FinishMeans(samples);
        job.Pass = GroupNormPass.SumOfSquares;
        Pool.Run(job, rowCount);
        job.FinishFactors(samples);
        job.Pass = GroupNormPass.Apply;
        Pool.Run(job, rowCount);
        KeepAlive(input, gamma, beta, output);
    }

    private enum GroupNormPass
    {
        Sum,
        SumOfSquares,
        Apply,
    }

    /// <summary>One image row.</summary>
    private struct GroupNormJob : IJob
    {
        public float* Input;
        public float* Output;
        public float* Gamma;
        public float* Beta;
        public float* RowSums;
        public float* Means;
        public float* Factors;
        public int Height;
        public int Width;
        public int Channels;
        public int GroupSize;
        public float Epsilon;
        public Activation Activation;
        public GroupNormPass Pass;

        public readonly void Execute(int task, byte* scratch)
        {
            var x = Input + (long)task * Width * Channels;
            var sample = task / Height * Channels;
            for (var c = 0; c < Channels; c += TSimd.Lanes)
            {
                var count = Math.Min(TSimd.Lanes, Channels - c);
                if (Pass == GroupNormPass.Apply) ApplyColumn(x + c, sample + c, c, count, Output + (long)task * Width * Channels + c);
                else SumColumn(x + c, sample + c, count, RowSums + (long)task * Channels + c);
            }
        }

        /// <summary>Mean of each group, per channel.</summary>
        public readonly void FinishMeans(int samples)
        {
            for (var i = 0; i < samples * Channels; i += GroupSize)
                new Span<float>(Means + i, GroupSize).Fill((float)GroupAverage(i));
        }

        /// <summary>gamma / √(variance + ε), per channel.</summary>
        public readonly void FinishFactors(int samples)
        {
            for (var i = 0; i < samples * Channels; i += GroupSize)
            {
                var reciprocal = 1 / Math.Sqrt(GroupAverage(i) + Epsilon);
                for (var c = i; c < i + GroupSize; c++) Factors[c] = (float)(Gamma[c % Channels] * reciprocal);
            }
        }

        private readonly double GroupAverage(int firstChannel)
        {
            var rows = RowSums + (long)(firstChannel / Channels) * Height * Channels + firstChannel % Channels;
            double total = 0;
            for (var y = 0; y < Height; y++)
                for (var c = 0; c < GroupSize; c++)
                    total += rows[(long)y * Channels + c];
            return total / ((long)Height * Width * GroupSize);
        }

        /// <summary>Σ (x − mean)^p over a row; the mean is zero in the first pass, where p is 1.</summary>
        private readonly void SumColumn(float* x, int channel, int count, float* sums)
        {
            TVec total = default;
            var mean = VectorMath<TSimd, TVec>.LoadPartial(Means + channel, count);
            for (var i = 0; i < Width; i++, x += Channels)
            {
                var value = TSimd.Subtract(Load(x, count), mean);
                total = Pass == GroupNormPass.Sum ? TSimd.Add(total, value) : TSimd.MultiplyAdd(value, value, total);
            }

            VectorMath<TSimd, TVec>.StorePartial(total, sums, count);
        }

        private readonly void ApplyColumn(float* x, int channel, int firstChannel, int count, float* y)
        {
            var mean = VectorMath<TSimd, TVec>.LoadPartial(Means + channel, count);
            var factor = VectorMath<TSimd, TVec>.LoadPartial(Factors + channel, count);
            var beta = VectorMath<TSimd, TVec>.LoadPartial(Beta + firstChannel, count);
            for (var i = 0; i < Width; i++, x += Channels, y += Channels)
            {
                var value = TSimd.MultiplyAdd(TSimd.Subtract(Load(x, count), mean), factor, beta);
                value = VectorMath<TSimd, TVec>.Apply(Activation, value);
                if (count == TSimd.Lanes) TSimd.Store(value, y);
                else VectorMath<TSimd, TVec>.StorePartial(value, y, count);
            }
        }

        private static TVec Load(float* x, int count) =>
            count == TSimd.Lanes ? TSimd.Load(x) : VectorMath<TSimd, TVec>.LoadPartial(x, count);
    }
}
