using DiTRuntime.Backends;
using DiTRuntime.Backends.Training;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Training;

/// <summary>The final layer, fixed, and the error of the prediction: LayerNorm modulated by given values, then a linear layer to patches.</summary>
/// <remarks>
/// The last Cin of a patch value's Cout channels are variances where the model learns them (order within a patch: row, column, channel). Noise and variance are
/// weighted differently, so the linear layer is kept as two.
/// </remarks>
internal sealed class FinalLayer : IDisposable
{
    private readonly ResourceList _owned = new();
    private readonly ITrainingBackend _backend;
    private readonly DiTConfig _config;
    private readonly Part _noise;
    private readonly Part? _variance;
    private readonly Tensor _modulation, _modulationGradient, _normed, _normedGradient;

    /// <param name="backend">Where it runs.</param>
    /// <param name="config">The architecture.</param>
    /// <param name="linear">final_layer.linear [p·p·Cout, H].</param>
    /// <param name="sampleCount">B.</param>
    public FinalLayer(ITrainingBackend backend, DiTConfig config, LinearWeight linear, int sampleCount)
    {
        _backend = backend;
        _config = config;
        var hidden = config.HiddenSize;
        var weight = new float[linear.Outputs * linear.Inputs];
        linear.CopyRows(0, linear.Outputs, weight);
        var bias = linear.Bias ?? new float[linear.Outputs];
        try
        {
            _modulation = Allocate(sampleCount, 2 * hidden);
            _modulationGradient = Allocate(sampleCount, 2 * hidden);
            _normed = Allocate(sampleCount, config.TokenCount, hidden);
            _normedGradient = Allocate(sampleCount, config.TokenCount, hidden);
            _noise = NewPart(firstChannel: 0);
            if (config.LearnsVariance) _variance = NewPart(firstChannel: config.InChannels);
        }
        catch
        {
            _owned.Dispose();
            throw;
        }

        Part NewPart(int firstChannel)
        {
            var width = linear.Outputs / config.OutChannels * config.InChannels;
            var part = new Part(
                firstChannel, Allocate(width, hidden), Allocate(width), Allocate(sampleCount, config.TokenCount, width),
                Allocate(sampleCount, config.TokenCount, width), Allocate(sampleCount, config.TokenCount, width));
            _backend.Upload<float>(Channels(weight, hidden, firstChannel), part.Weight);
            _backend.Upload<float>(Channels(bias, 1, firstChannel), part.Bias);
            return part;
        }
    }

    /// <summary>The errors of the prediction, and their gradient.</summary>
    /// <param name="tokens">in Output of the last block, [B, T, H].</param>
    /// <param name="batch">Has the modulation and the target.</param>
    /// <param name="weights">What they count.</param>
    /// <param name="gradient">in/out ∂tokens; the weighted errors' gradient is added.</param>
    /// <returns>Mean squared errors of noise and variance.</returns>
    public (double Noise, double Variance) AddGradient(Tensor tokens, StudentBatch batch, in LossWeights weights, Tensor gradient)
    {
        _backend.Upload<float>(batch.FinalModulation, _modulation);
        _backend.NormModulateForward(tokens, _modulation, 0, DiTFrame.FinalEpsilon, _normed);
        var noise = Run(_noise, batch.PredictionTarget!, weights.Noise, adds: false);
        var variance = _variance is null ? 0 : Run(_variance, batch.PredictionTarget!, weights.Variance, adds: true);
        _backend.NormModulateGradient(_normedGradient, tokens, _modulation, 0, DiTFrame.FinalEpsilon, gradient, _modulationGradient);
        return (noise, variance);
    }

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();

    private double Run(Part part, float[] target, float weight, bool adds)
    {
        _backend.Upload<float>(Channels(target, 1, part.FirstChannel), part.Target);
        _backend.Multiply(LinearProduct.Output, _normed, part.Weight, part.Patches);
        _backend.AddBias(part.Bias, part.Patches);
        _backend.Clear(part.Gradient);
        var error = _backend.SquaredErrorGradient(part.Patches, part.Target, weight / part.Patches.Count, part.Gradient);
        _backend.Multiply(LinearProduct.InputGradient, part.Gradient, part.Weight, _normedGradient, adds);
        return error / part.Patches.Count;
    }

    /// <summary>Cin of every Cout runs of values.</summary>
    private float[] Channels(float[] values, int runLength, int firstChannel)
    {
        var (from, count) = (_config.OutChannels * runLength, _config.InChannels * runLength);
        var channels = new float[values.Length / from * count];
        for (var i = 0; i < values.Length / from; i++) values.AsSpan(i * from + firstChannel * runLength, count).CopyTo(channels.AsSpan(i * count));
        return channels;
    }

    private Tensor Allocate(params ReadOnlySpan<int> shape) => _owned.Add(_backend.Allocate(ElementType.F32, shape));

    /// <summary>The layer for some channels: W [n, H], b [n], and patches [B, T, n].</summary>
    private sealed record Part(int FirstChannel, Tensor Weight, Tensor Bias, Tensor Patches, Tensor Target, Tensor Gradient);
}
