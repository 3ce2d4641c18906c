namespace DiTRuntime.Backends.Cpu.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void GuideAndUpdate(Tensor prediction, UpdateTable updates, Tensor? noise, Tensor latents)
    {
        TensorCheck.StepCounter(this, updates);
        var stepIndex = Integers(updates.Step)[0];
        TensorCheck.GuideAndUpdate(this, prediction, updates.OfStep(stepIndex), noise, latents);
        var channels = latents.Shape[1];
        var area = latents.Shape[2] * latents.Shape[3];
        var predictedChannels = prediction.Shape[1];
        var p = Floats(prediction);
        var x = Floats(latents);
        foreach (var update in updates.OfStep(stepIndex))
        {
            var step = update.Coefficients;
            for (var c = 0; c < channels; c++)
                for (var i = 0; i < area; i++)
                {
                    var conditional = (update.ConditionalRow * predictedChannels + c) * area + i;
                    double epsilon = p[conditional];
                    if (update.UnconditionalRow >= 0 && c < update.GuidedChannels)
                    {
                        double unconditional = p[(update.UnconditionalRow * predictedChannels + c) * area + i];
                        epsilon = unconditional + update.GuidanceScale * (epsilon - unconditional);
                    }

                    // The variance fraction of a channel lies C channels after its noise, and is never guided.
                    var sigma = step.LearnedVariance ? LearnedSigma(step.MinLogVariance, step.MaxLogVariance, p[conditional + channels * area]) : step.Sigma;
                    var at = (update.Image * channels + c) * area + i;
                    var next = (double)step.Latent * x[at] + step.Prediction * epsilon;
                    if (noise is not null && step.NeedsNoise) next += sigma * Floats(noise)[stepIndex % 2 * latents.Count + at];
                    x[at] = (float)next;
                }
        }

        Integers(updates.Step)[0]++;
    }

    /// <summary>σ = exp(½(f·max + (1 − f)·min)), f = (v + 1)/2.</summary>
    private static double LearnedSigma(double minLogVariance, double maxLogVariance, double v)
    {
        var fraction = (v + 1) / 2;
        return Math.Exp((fraction * maxLogVariance + (1 - fraction) * minLogVariance) / 2);
    }
}
