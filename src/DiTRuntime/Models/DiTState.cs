using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Models;

/// <summary>Everything a forward pass of one batch shape works in, allocated once.</summary>
/// <remarks>B samples are the rows of the batch; guided images take two, one with the class and one with the null class.</remarks>
public sealed class DiTState : IDisposable
{
    private readonly ResourceList _owned = new();

    // Value tuples, because a dictionary takes no null key and "not quantized" is a format too.
    private readonly Dictionary<ValueTuple<ActivationFormat?>, Tensor> _tokenInputs;
    private readonly Dictionary<ValueTuple<ActivationFormat?>, Tensor> _hiddenInputs;

    /// <param name="backend">Where it lives.</param>
    /// <param name="config">The architecture.</param>
    /// <param name="imageCount">Latents in flight.</param>
    /// <param name="sampleCount">B: rows of the batch.</param>
    /// <param name="tokenFormats">Formats in which layers read tokens [B, T, H]; layers with the same format share their input.</param>
    /// <param name="hiddenFormats">Formats in which layers read the MLP's hidden values [B, T, M], likewise.</param>
    internal DiTState(IDiTBackend backend, DiTConfig config, int imageCount, int sampleCount, IEnumerable<ActivationFormat?> tokenFormats, IEnumerable<ActivationFormat?> hiddenFormats)
    {
        int tokens = config.TokenCount, hidden = config.HiddenSize, side = config.InputSize;
        var patchValues = config.PatchSize * config.PatchSize * config.OutChannels;
        try
        {
            Latents = _owned.Add(backend.Allocate(ElementType.F32, imageCount, config.InChannels, side, side));
            ImageOfSample = _owned.Add(backend.Allocate(ElementType.I32, sampleCount));
            ModulationRowOfSample = _owned.Add(backend.Allocate(ElementType.I32, sampleCount));
            Tokens = _owned.Add(backend.AllocateActivations(null, sampleCount, tokens, hidden));
            Qkv = _owned.Add(backend.AllocateActivations(null, sampleCount, tokens, 3 * hidden));
            Patches = _owned.Add(backend.Allocate(ElementType.F32, sampleCount, tokens, patchValues));
            Prediction = _owned.Add(backend.Allocate(ElementType.F32, sampleCount, config.OutChannels, side, side));
            _tokenInputs = AllocateInputs(tokenFormats, hidden);
            _hiddenInputs = AllocateInputs(hiddenFormats, config.MlpSize);
        }
        catch
        {
            _owned.Dispose();
            throw;
        }

        Dictionary<ValueTuple<ActivationFormat?>, Tensor> AllocateInputs(IEnumerable<ActivationFormat?> formats, int width) =>
            formats.Distinct().ToDictionary(ValueTuple.Create, format => _owned.Add(backend.AllocateActivations(format, sampleCount, tokens, width)));
    }

    private DiTState(DiTState whole, int sampleCount)
    {
        Latents = whole.Latents;
        ImageOfSample = whole.ImageOfSample.Prefix(sampleCount);
        ModulationRowOfSample = whole.ModulationRowOfSample.Prefix(sampleCount);
        Tokens = whole.Tokens.Prefix(sampleCount);
        Qkv = whole.Qkv.Prefix(sampleCount);
        Patches = whole.Patches.Prefix(sampleCount);
        Prediction = whole.Prediction.Prefix(sampleCount);
        _tokenInputs = whole._tokenInputs.ToDictionary(input => input.Key, input => input.Value.Prefix(sampleCount));
        _hiddenInputs = whole._hiddenInputs.ToDictionary(input => input.Key, input => input.Value.Prefix(sampleCount));
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

    /// <summary>[B, T, H]: what a layer that takes tokens reads, in the format it asks for.</summary>
    public Tensor TokenInput(PreparedLinear layer) => _tokenInputs[new(layer.Activations)];

    /// <summary>[B, T, M]: what the layer that takes the MLP's hidden values reads, in the format it asks for.</summary>
    public Tensor HiddenInput(PreparedLinear layer) => _hiddenInputs[new(layer.Activations)];

    /// <summary>A smaller batch in the same memory, with all latents, so that the memory of the largest serves every size; it owns nothing.</summary>
    /// <param name="sampleCount">B of the smaller batch.</param>
    /// <exception cref="ArgumentException">There is not so much room.</exception>
    public DiTState Prefix(int sampleCount) => new(this, sampleCount);

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();
}
