using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Models;

/// <summary>Everything a forward pass of one batch shape works in, allocated once.</summary>
/// <remarks>B samples are the rows of the batch; guided images take two, one with the class and one with the null class.</remarks>
public sealed class DiTState : IDisposable
{
    /// <param name="backend">Where it lives.</param>
    /// <param name="config">The architecture.</param>
    /// <param name="imageCount">Latents in flight.</param>
    /// <param name="sampleCount">B: rows of the batch.</param>
    public DiTState(IDiTBackend backend, DiTConfig config, int imageCount, int sampleCount)
    {
        int tokens = config.TokenCount, hidden = config.HiddenSize, side = config.InputSize;
        var patchValues = config.PatchSize * config.PatchSize * config.OutChannels;
        Latents = backend.Allocate(ElementType.F32, imageCount, config.InChannels, side, side);
        ImageOfSample = backend.Allocate(ElementType.I32, sampleCount);
        ModulationRowOfSample = backend.Allocate(ElementType.I32, sampleCount);
        Tokens = backend.Allocate(ElementType.F32, sampleCount, tokens, hidden);
        Normed = backend.Allocate(ElementType.F32, sampleCount, tokens, hidden);
        Qkv = backend.Allocate(ElementType.F32, sampleCount, tokens, 3 * hidden);
        Hidden = backend.Allocate(ElementType.F32, sampleCount, tokens, config.MlpSize);
        Patches = backend.Allocate(ElementType.F32, sampleCount, tokens, patchValues);
        Prediction = backend.Allocate(ElementType.F32, sampleCount, config.OutChannels, side, side);
    }

    /// <summary>x [images, C, S, S].</summary>
    public Tensor Latents { get; }

    /// <summary>I32 [B]: the latent each sample reads.</summary>
    public Tensor ImageOfSample { get; }

    /// <summary>I32 [B]: the row of the modulation table each sample uses.</summary>
    public Tensor ModulationRowOfSample { get; }

    /// <summary>[B, T, H]: the residual stream.</summary>
    public Tensor Tokens { get; }

    /// <summary>[B, T, H]: after a norm; also the heads' output.</summary>
    public Tensor Normed { get; }

    /// <summary>[B, T, 3H].</summary>
    public Tensor Qkv { get; }

    /// <summary>[B, T, M].</summary>
    public Tensor Hidden { get; }

    /// <summary>[B, T, p·p·Cout].</summary>
    public Tensor Patches { get; }

    /// <summary>[B, Cout, S, S]: what the model predicts.</summary>
    public Tensor Prediction { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in new[] { Latents, ImageOfSample, ModulationRowOfSample, Tokens, Normed, Qkv, Hidden, Patches, Prediction })
            tensor.Dispose();
    }
}
