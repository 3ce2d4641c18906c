using DiTRuntime.Sampling;

namespace DiTRuntime.Models;

/// <summary>What the images of one run share.</summary>
/// <param name="Plan">The sampler, worked out.</param>
/// <param name="Noise">Initial latents and the noise of the steps.</param>
/// <param name="GuidanceScale">s of classifier-free guidance; 1 turns it off, and nothing unconditional is computed.</param>
/// <param name="GuidedChannels">Leading latent channels that are guided: 3 in the published code, all in diffusers.</param>
public sealed record SamplingSettings(SamplingPlan Plan, NoiseSource Noise, float GuidanceScale, int GuidedChannels)
{
    /// <summary>Whether the unconditional half is computed.</summary>
    public bool IsGuided => GuidanceScale != 1;
}
