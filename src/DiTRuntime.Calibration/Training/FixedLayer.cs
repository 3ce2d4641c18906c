using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Training;

/// <summary>A layer that training leaves as it is.</summary>
/// <param name="weight">The layer.</param>
internal sealed class FixedLayer(LinearWeight weight) : ITrainedLayer
{
    /// <inheritdoc/>
    public int Outputs => weight.Outputs;

    /// <inheritdoc/>
    public int Inputs => weight.Inputs;

    /// <inheritdoc/>
    public float[]? Bias => weight.Bias;

    /// <inheritdoc/>
    public void CopyWeight(Span<float> target) => weight.CopyRows(0, Outputs, target);

    /// <inheritdoc/>
    public void Step(ReadOnlySpan<float> weightGradient, ReadOnlySpan<float> biasGradient)
    {
    }
}
