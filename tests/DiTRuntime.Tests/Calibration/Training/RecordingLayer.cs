using DiTRuntime.Calibration.Training;

namespace DiTRuntime.Tests.Calibration.Training;

/// <summary>A layer that keeps its gradients, and after its step is something else.</summary>
internal sealed class RecordingLayer(int outputs, int inputs, float[] weight, float[]? bias) : ITrainedLayer
{
    public int Outputs => outputs;

    public int Inputs => inputs;

    public float[] Weight { get; private set; } = weight;

    public float[]? Bias { get; private set; } = bias;

    public float[] WeightGradient { get; private set; } = [];

    public float[] BiasGradient { get; private set; } = [];

    public int Steps { get; private set; }

    public void CopyWeight(Span<float> weight) => Weight.CopyTo(weight);

    public void Step(ReadOnlySpan<float> weightGradient, ReadOnlySpan<float> biasGradient)
    {
        (WeightGradient, BiasGradient) = (weightGradient.ToArray(), biasGradient.ToArray());
        Steps++;
        Weight = Array.ConvertAll(Weight, v => 1 - v);
        Bias = Bias is null ? null : Array.ConvertAll(Bias, v => 1 - v);
    }
}
