using System.Runtime.InteropServices;
using DiTRuntime.Backends;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>One entry of the table of updates. Mirrors <c>dit_sample_update</c> in kernels/abi/sampler.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DeviceSampleUpdate
{
    public int Image;
    public int ConditionalRow;
    public int UnconditionalRow;
    public float GuidanceScale;
    public int GuidedChannels;
    public float Latent;
    public float Prediction;
    public float Sigma;
    public int LearnedVariance;
    public float MinLogVariance;
    public float MaxLogVariance;

    /// <summary>The entry for an image's step.</summary>
    public DeviceSampleUpdate(in SampleUpdate update)
    {
        var step = update.Coefficients;
        Image = update.Image;
        ConditionalRow = update.ConditionalRow;
        UnconditionalRow = update.UnconditionalRow;
        GuidanceScale = update.GuidanceScale;
        GuidedChannels = update.GuidedChannels;
        Latent = step.Latent;
        Prediction = step.Prediction;
        Sigma = step.Sigma;
        LearnedVariance = step.LearnedVariance ? 1 : 0;
        MinLogVariance = step.MinLogVariance;
        MaxLogVariance = step.MaxLogVariance;
    }
}
