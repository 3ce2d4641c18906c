namespace DiTRuntime.Sampling;

/// <summary>One step of a sampler.</summary>
/// <param name="Timestep">Training timestep the model is asked at, 0 to 999.</param>
/// <param name="Update">How the latent moves.</param>
/// <param name="DrawsNoise">
/// Whether the implementation followed draws noise here, used or not: what a shared random stream must advance by.
/// </param>
public readonly record struct SamplingStep(int Timestep, UpdateCoefficients Update, bool DrawsNoise);
