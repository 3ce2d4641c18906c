using System.Runtime.InteropServices;
using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Exporter.Decoding;

/// <summary>A step of a decoder, on numbered tensors.</summary>
internal abstract record TracedOperation(uint Input, uint Output);

/// <summary>output = act(conv(upsample(input)) + b + residual).</summary>
internal sealed record TracedConvolve(uint Input, uint Output, ConvolutionWeight Weight, Activation Activation, uint? Residual, bool Upsamples) : TracedOperation(Input, Output);

/// <summary>output = act(GN(input)·gamma + beta).</summary>
internal sealed record TracedNorm(uint Input, uint Output, GroupNormOptions Options, float[] Gamma, float[] Beta) : TracedOperation(Input, Output);

/// <summary>output = act(input Wᵀ + b), or added to it.</summary>
internal sealed record TracedProduct(uint Input, uint Output, LinearWeight Weight, Activation Activation, bool Adds) : TracedOperation(Input, Output);

/// <summary>output = softmax(q kᵀ/√D) v.</summary>
internal sealed record TracedAttention(uint Input, uint Output, int HeadCount) : TracedOperation(Input, Output);

/// <summary>
/// A backend that computes nothing: it writes down what a decoder asks for, so that the exported runtime can do the same in the same order.
/// Decoders run on it as they are; the weights stay in their file.
/// </summary>
internal sealed class TracingBackend : IDiTBackend
{
    private readonly List<TracedTensor> _tensors = [];
    private readonly List<TracedOperation> _operations = [];

    /// <inheritdoc/>
    public string Name => "trace";

    /// <inheritdoc/>
    public string Description => "writes down what a decoder does";

    /// <inheritdoc/>
    public CancellationToken Cancellation { get; set; }

    /// <summary>The tensors that the operations work in, by number.</summary>
    public IReadOnlyList<TracedTensor> Tensors => _tensors;

    /// <summary>The operations, in order.</summary>
    public IReadOnlyList<TracedOperation> Operations => _operations;

    /// <summary>The tensor that values were uploaded into.</summary>
    public uint? Input { get; private set; }

    /// <summary>The tensor that values were downloaded from.</summary>
    public uint? Output { get; private set; }

    /// <inheritdoc/>
    public Tensor Allocate(ElementType type, params ReadOnlySpan<int> shape) => new TracedTensor(this, type, shape, number: null);

    /// <inheritdoc/>
    public Tensor AllocateActivations(ActivationFormat? format, params ReadOnlySpan<int> shape)
    {
        if (format is not null) throw Unsupported();
        var tensor = new TracedTensor(this, ElementType.F32, shape, (uint)_tensors.Count);
        _tensors.Add(tensor);
        return tensor;
    }

    /// <inheritdoc/>
    public void Upload<T>(ReadOnlySpan<T> source, Tensor destination)
        where T : unmanaged
    {
        var tensor = (TracedTensor)destination;
        if (tensor.Number is { } number) Input = number;
        else tensor.Values = MemoryMarshal.Cast<T, float>(source).ToArray();
    }

    /// <inheritdoc/>
    public void Download<T>(Tensor source, Span<T> destination)
        where T : unmanaged => Output = Number(source);

    /// <inheritdoc/>
    public PreparedLinear Prepare(LinearWeight weight, LinearUse use = LinearUse.Linear) => new TracedLinear(weight);

    /// <inheritdoc/>
    public PreparedConvolution Prepare(ConvolutionWeight weight) => new TracedConvolution(weight);

    /// <inheritdoc/>
    public void Linear(Tensor input, PreparedLinear layer, in Epilogue epilogue, Tensor output)
    {
        TensorCheck.Linear(this, input, layer, epilogue, output);
        if (epilogue.Gate is not null) throw Unsupported();
        _operations.Add(new TracedProduct(Number(input), Number(output), ((TracedLinear)layer).Weight, epilogue.Activation, epilogue.AddsToOutput));
    }

    /// <inheritdoc/>
    public void Attention(Tensor qkv, int headCount, Tensor output)
    {
        TensorCheck.Attention(this, qkv, headCount, output);
        _operations.Add(new TracedAttention(Number(qkv), Number(output), headCount));
    }

    /// <inheritdoc/>
    public void Convolution(Tensor input, PreparedConvolution layer, in ConvolutionOptions options, Tensor output)
    {
        TensorCheck.Convolution(this, input, layer, options, output);
        uint? residual = options.Residual is { } tensor ? Number(tensor) : null;
        _operations.Add(new TracedConvolve(Number(input), Number(output), ((TracedConvolution)layer).Weight, options.Activation, residual, options.UpsamplesInput));
    }

    /// <inheritdoc/>
    public void GroupNorm(Tensor input, Tensor gamma, Tensor beta, in GroupNormOptions options, Tensor output)
    {
        TensorCheck.GroupNorm(this, input, gamma, beta, options, output);
        _operations.Add(new TracedNorm(Number(input), Number(output), options, ((TracedTensor)gamma).Values, ((TracedTensor)beta).Values));
    }

    /// <inheritdoc/>
    public void TimestepFeatures(Tensor timesteps, Tensor frequencies, Tensor features) => throw Unsupported();

    /// <inheritdoc/>
    public void Condition(Tensor timestepEmbedding, Tensor labelTable, Tensor labels, Tensor condition) => throw Unsupported();

    /// <inheritdoc/>
    public void PatchEmbed(Tensor latents, Tensor imageOfSample, PreparedLinear projection, Tensor positions, Tensor tokens) => throw Unsupported();

    /// <inheritdoc/>
    public void NormModulate(Tensor tokens, in Modulation modulation, int shiftChunk, float epsilon, Tensor output) => throw Unsupported();

    /// <inheritdoc/>
    public void Unpatchify(Tensor patches, Tensor output) => throw Unsupported();

    /// <inheritdoc/>
    public UpdateTable Prepare(ReadOnlySpan<SampleUpdate> updates, int imageCount) => throw Unsupported();

    /// <inheritdoc/>
    public void Replace(UpdateTable table, ReadOnlySpan<SampleUpdate> updates) => throw Unsupported();

    /// <inheritdoc/>
    public void UploadNoise(ReadOnlySpan<float> values, Tensor noise, int stepIndex) => throw Unsupported();

    /// <inheritdoc/>
    public void GuideAndUpdate(Tensor prediction, UpdateTable updates, Tensor? noise, Tensor latents) => throw Unsupported();

    /// <inheritdoc/>
    public void Dispose()
    {
        // Holds nothing.
    }

    private static uint Number(Tensor tensor) => ((TracedTensor)tensor).Number ?? throw new InvalidOperationException("a decoder's operation works on a parameter");

    private static NotSupportedException Unsupported() => new("the exported runtime has no such decoder operation");
}
