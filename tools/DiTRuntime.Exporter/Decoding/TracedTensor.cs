using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Exporter.Decoding;

/// <summary>A tensor without storage: a number in the trace, or values that were uploaded before it began.</summary>
/// <param name="owner">The backend.</param>
/// <param name="type">Element type.</param>
/// <param name="shape">Extents.</param>
/// <param name="number">Its number among the tensors that the decoder works in; null for parameters.</param>
internal sealed class TracedTensor(TracingBackend owner, ElementType type, ReadOnlySpan<int> shape, uint? number) : Tensor(owner, type, shape)
{
    /// <summary>Its number among the tensors that the decoder works in; null for parameters.</summary>
    public uint? Number { get; } = number;

    /// <summary>What was uploaded, for parameters.</summary>
    public float[] Values { get; set; } = [];

    /// <inheritdoc/>
    protected override Tensor View(int firstSlice, ReadOnlySpan<int> shape) => throw new NotSupportedException("a decoder takes no part of a tensor");

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        // Holds nothing but what the trace keeps.
    }
}

/// <summary>A linear layer as the checkpoint has it.</summary>
internal sealed class TracedLinear(Quantization.LinearWeight weight) : PreparedLinear(weight.Name, weight.Outputs, weight.Inputs, weight.Activations)
{
    /// <summary>The weight.</summary>
    public Quantization.LinearWeight Weight { get; } = weight;

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        // The checkpoint holds the weight.
    }
}

/// <summary>A convolution as the checkpoint has it.</summary>
internal sealed class TracedConvolution(ConvolutionWeight weight) : PreparedConvolution(weight.Name, weight.Outputs, weight.Inputs, weight.KernelSize)
{
    /// <summary>The weight.</summary>
    public ConvolutionWeight Weight { get; } = weight;

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        // The checkpoint holds the weight.
    }
}
