namespace DiTRuntime.Sampling;

/// <summary>One sampling step as a linear update: x ← Latent·x + Prediction·ε + σ·noise.</summary>
/// <remarks>
/// DDIM (Song et al. 2021, equation 12) and DDPM (Ho et al. 2020, equation 11) both have this form once x0 is
/// eliminated; the coefficients are formed in double precision.
/// With <see cref="LearnedVariance"/>, σ = exp(½(f·MaxLogVariance + (1 − f)·MinLogVariance)), f = (v + 1)/2, v the variance
/// channels of the prediction (Nichol and Dhariwal 2021, equation 15); else σ = <see cref="Sigma"/>.
/// </remarks>
/// <param name="Latent">Factor of the current latent.</param>
/// <param name="Prediction">Factor of the predicted noise.</param>
/// <param name="Sigma">Standard deviation of the added noise, when it is not learned.</param>
/// <param name="LearnedVariance">Whether σ comes from the model's variance channels.</param>
/// <param name="MinLogVariance">Lower end of the learned log-variance.</param>
/// <param name="MaxLogVariance">Upper end of the learned log-variance.</param>
public readonly record struct UpdateCoefficients(
    float Latent,
    float Prediction,
    float Sigma = 0,
    bool LearnedVariance = false,
    float MinLogVariance = 0,
    float MaxLogVariance = 0)
{
    /// <summary>Whether the step adds noise at all.</summary>
    public bool NeedsNoise => LearnedVariance || Sigma != 0;
}
