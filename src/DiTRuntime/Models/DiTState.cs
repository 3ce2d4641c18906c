using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Models;

/// <summary>Everything a forward pass of one batch shape works in, allocated once.</summary>
/// <remarks>B samples are the rows of the batch; guided images take two, one with the class and one with the null class.</remarks>
public sealed class DiTState : IDisposable
{
    private readonly Dictionary<PreparedLinear, Tensor> _inputs = [];

    /// <param name="backend">Where it lives.</param>
    /// <param name="config">The architecture.</param>
    /// <param name="imageCount">Latents in flight.</param>
    /// <param name="sampleCount">B: rows of the batch.</param>
    /// <param name="tokenLayers">Layers that read tokens [B, T, H]; those that take the same format share their input.</param>
    /// <param name="hiddenLayers">Layers that read the MLP's hidden values [B, T, M], likewise.</param>
    internal DiTState(IDiTBackend backend, DiTConfig config, int imageCount, int sampleCount, IReadOnlyList<PreparedLinear> tokenLayers, IReadOnlyList<PreparedLinear> hiddenLayers)
    {
        int tokens = config.TokenCount, hidden = config.HiddenSize, side = config.InputSize;
        var patchValues = config.PatchSize * config.PatchSize * config.OutChannels;
        Latents = backend.Allocate(ElementType.F32, imageCount, config.InChannels, side, side);
        ImageOfSample = backend.Allocate(ElementType.I32, sampleCount);
        ModulationRowOfSample = backend.Allocate(ElementType.I32, sampleCount);
        Tokens = backend.Allocate(ElementType.F32, sampleCount, tokens, hidden);
        Qkv = backend.Allocate(ElementType.F32, sampleCount, tokens, 3 * hidden);
        Patches = backend.Allocate(ElementType.F32, sampleCount, tokens, patchValues);
        Prediction = backend.Allocate(ElementType.F32, sampleCount, config.OutChannels, side, side);
        AllocateInputs(tokenLayers, hidden);
        AllocateInputs(hiddenLayers, config.MlpSize);

        void AllocateInputs(IReadOnlyList<PreparedLinear> layers, int width)
        {
            foreach (var group in layers.GroupBy(layer => layer.Activations))
            {
                var shared = backend.AllocateActivations(group.Key, sampleCount, tokens, width);
                foreach (var layer in group) _inputs[layer] = shared;
            }
        }
    }

    /// <summary>x [images, C, S, S].</summary>
    public Tensor Latents { get; }

    /// <summary>I32 [B]: the latent each sample reads.</summary>
    public Tensor ImageOfSample { get; }

    /// <summary>I32 [B]: the row of the modulation table each sample uses.</summary>
    public Tensor ModulationRowOfSample { get; }

    /// <summary>[B, T, H]: the residual stream.</summary>
    public Tensor Tokens { get; }

    /// <summary>[B, T, 3H].</summary>
    public Tensor Qkv { get; }

    /// <summary>[B, T, p·p·Cout].</summary>
    public Tensor Patches { get; }

    /// <summary>[B, Cout, S, S]: what the model predicts.</summary>
    public Tensor Prediction { get; }

    /// <summary>[B, T, K]: what a layer reads, in the format it asks for.</summary>
    public Tensor InputOf(PreparedLinear layer) => _inputs[layer];

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in _inputs.Values.Concat([Latents, ImageOfSample, ModulationRowOfSample, Tokens, Qkv, Patches, Prediction]))
            tensor.Dispose();
    }
}
