using DiTRuntime.Sampling;

namespace DiTRuntime.Backends.Cpu;

/// <summary>Guidance and the sampler's update, a channel plane per task. Bound: bytes; small.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <inheritdoc/>
    public override void GuideAndUpdate(Tensor prediction, UpdateTable updates, Tensor? noise, Tensor latents)
    {
        TensorCheck.StepCounter(this, updates);
        var step = Integers(updates.Step);
        var current = updates.OfStep(*step);
        TensorCheck.GuideAndUpdate(this, prediction, current, noise, latents);
        fixed (SampleUpdate* first = current)
        {
            var job = new UpdateJob
            {
                Prediction = Floats(prediction),
                Updates = first,
                Noise = noise is null ? null : Floats(noise) + *step % 2 * (long)latents.Count,
                Latents = Floats(latents),
                Channels = latents.Shape[1],
                PredictedChannels = prediction.Shape[1],
                PlaneSize = latents.Shape[2] * latents.Shape[3],
            };
            Pool.Run(job, current.Length * job.Channels);
        }

        ++*step;
        KeepAlive(prediction, noise, latents, updates);
    }

    private struct UpdateJob : IJob
    {
        public float* Prediction;
        public SampleUpdate* Updates;
        public float* Noise;
        public float* Latents;
        public int Channels;
        public int PredictedChannels;
        public int PlaneSize;

        public readonly void Execute(int task, byte* scratch)
        {
            var update = Updates + task / Channels;
            var channel = task % Channels;
            var guided = update->UnconditionalRow >= 0 && channel < update->GuidedChannels;
            var conditional = Plane(update->ConditionalRow, channel);
            var unconditional = Plane(guided ? update->UnconditionalRow : update->ConditionalRow, channel);
            var scale = guided ? update->GuidanceScale : 1;
            var c = update->Coefficients;
            var at = (update->Image * Channels + channel) * (long)PlaneSize;
            var x = Latents + at;
            for (var i = 0; i < PlaneSize; i++)
            {
                var predicted = guided
                    ? MathF.FusedMultiplyAdd(scale, conditional[i] - unconditional[i], unconditional[i])
                    : conditional[i];
                x[i] = MathF.FusedMultiplyAdd(c.Prediction, predicted, c.Latent * x[i]);
            }

            if (c.NeedsNoise) AddNoise(x, Noise + at, Plane(update->ConditionalRow, Channels + channel), c);
        }

        private readonly float* Plane(int row, int channel) => Prediction + ((long)row * PredictedChannels + channel) * PlaneSize;

        private readonly void AddNoise(float* x, float* noise, float* fraction, in UpdateCoefficients c)
        {
            if (!c.LearnedVariance)
            {
                for (var i = 0; i < PlaneSize; i++) x[i] = MathF.FusedMultiplyAdd(c.Sigma, noise[i], x[i]);
                return;
            }

            // log σ = ½(f·max + (1 − f)·min), f = (v + 1)/2.
            float slope = (c.MaxLogVariance - c.MinLogVariance) / 4, offset = (c.MaxLogVariance + c.MinLogVariance) / 4;
            for (var i = 0; i < PlaneSize; i += TSimd.Lanes)
            {
                var count = Math.Min(TSimd.Lanes, PlaneSize - i);
                var v = VectorMath<TSimd, TVec>.LoadPartial(fraction + i, count);
                var sigma = VectorMath<TSimd, TVec>.Exp(TSimd.MultiplyAdd(v, TSimd.Broadcast(slope), TSimd.Broadcast(offset)));
                var moved = TSimd.MultiplyAdd(sigma, VectorMath<TSimd, TVec>.LoadPartial(noise + i, count), VectorMath<TSimd, TVec>.LoadPartial(x + i, count));
                VectorMath<TSimd, TVec>.StorePartial(moved, x + i, count);
            }
        }
    }
}
