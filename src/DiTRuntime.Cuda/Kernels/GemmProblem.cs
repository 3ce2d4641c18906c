using DiTRuntime.Backends;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>What happens to y = x Wᵀ + b; the values are those of EPILOGUE in kernels/gemm/configuration.cuh.</summary>
internal enum GemmEpilogue
{
    /// <summary>out = activation(y).</summary>
    Store = 0,

    /// <summary>out += y, halves.</summary>
    Residual = 1,

    /// <summary>out += gate·y, halves.</summary>
    GatedResidual = 2,

    /// <summary>out = activation(y) as quantized activations.</summary>
    Quantize = 3,

    /// <summary>q, k and v apart: halves [3, samples, heads, tokens, head size].</summary>
    Heads = 4,
}

/// <summary>One product and what to do with it.</summary>
internal readonly record struct GemmProblem
{
    /// <summary>M: rows of the input and of the output.</summary>
    public required int Rows { get; init; }

    /// <summary>W and b.</summary>
    public required CudaLinear Layer { get; init; }

    /// <summary>Where the records of a layer lie that were decoded for this product.</summary>
    public DevicePointer DecodedRecords { get; init; }

    /// <summary>The input of a layer in halves or weight-only: f16 [rows, <see cref="InputStride"/>], zero from K to the next multiple of 8; 16-byte aligned.</summary>
    public DevicePointer Input { get; init; }

    /// <summary>Halves from one input row to the next, a multiple of 8; 0 for K rounded up to 8.</summary>
    public int InputStride { get; init; }

    /// <summary>The input of a layer with quantized activations.</summary>
    public DeviceActivation QuantizedInput { get; init; }

    /// <summary>What happens to the product.</summary>
    public GemmEpilogue Epilogue { get; init; }

    /// <summary>Applied to the product first; <see cref="GemmEpilogue.Store"/> and <see cref="GemmEpilogue.Quantize"/> only.</summary>
    public Activation Activation { get; init; }

    /// <summary>f16 [rows, <see cref="OutputStride"/>], or f32 where <see cref="OutputIsFloat"/>; 16-byte aligned.</summary>
    public DevicePointer Output { get; init; }

    /// <summary>Whether <see cref="GemmEpilogue.Store"/> writes fp32.</summary>
    public bool OutputIsFloat { get; init; }

    /// <summary>Elements from one output row to the next; 0 for N.</summary>
    public int OutputStride { get; init; }

    /// <summary>The output of <see cref="GemmEpilogue.Quantize"/>; static ranges lie in it.</summary>
    public DeviceActivation QuantizedOutput { get; init; }

    /// <summary>Groups of <see cref="QuantizedOutput"/>.</summary>
    public ActivationFormat? OutputFormat { get; init; }

    /// <summary>Where the gate lies.</summary>
    public DeviceModulation Modulation { get; init; }

    /// <summary>Values from the start of a modulation row to the gate.</summary>
    public int GateOffset { get; init; }

    /// <summary>T: rows of a sample, for the gate and the heads.</summary>
    public int Tokens { get; init; }

    /// <summary>Heads of q, of k and of v.</summary>
    public int HeadCount { get; init; }

    /// <summary>Group size of the quantized output, the whole row where it is one group; 0 for other outputs.</summary>
    public int OutputGroup => Epilogue == GemmEpilogue.Quantize ? OutputFormat!.Grid(Layer.Outputs).Size : 0;
}
