using DiTRuntime.Sampling;

namespace DiTRuntime.Backends;

/// <summary>How one image's latent x moves in one sampling step.</summary>
/// <remarks>
/// ε = guided noise: on the first <paramref name="GuidedChannels"/> channels u + s(c − u), with c and u the predictions of
/// the conditional and the unconditional row; on the others, or without an unconditional row, c.
/// x ← <see cref="UpdateCoefficients.Latent"/>·x + <see cref="UpdateCoefficients.Prediction"/>·ε + σ·noise.
/// </remarks>
/// <param name="Image">Index of the latent.</param>
/// <param name="ConditionalRow">Row of the prediction made with the class.</param>
/// <param name="UnconditionalRow">Row made with the null class, or −1 without guidance.</param>
/// <param name="GuidanceScale">s.</param>
/// <param name="GuidedChannels">Number of leading channels that are guided: 3 in the published code.</param>
/// <param name="Coefficients">The step's coefficients.</param>
public readonly record struct SampleUpdate(
    int Image,
    int ConditionalRow,
    int UnconditionalRow,
    float GuidanceScale,
    int GuidedChannels,
    UpdateCoefficients Coefficients);
