using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>A group-quantized layer: the codes stay where they are in the mapped file; scales, zero points and biases are copied.</summary>
internal sealed unsafe class CpuGroupLinear : PreparedLinear
{
    private readonly GroupWeight _weight;
    private readonly NativeBuffer _scales;
    private readonly NativeBuffer _bias;

    public CpuGroupLinear(GroupWeight weight)
        : base(weight.Name, weight.Outputs, weight.Inputs, weight.Activations)
    {
        _weight = weight;
        Grid = weight.Grid;
        Bits = weight.Format.Bits;
        RowBytes = weight.Format.RowBytes(weight.Inputs);
        if (Grid.Count > 1 && Grid.Size % CodeReader.Step != 0)
            throw new UsageException($"{weight.Name} is packed in groups of {Grid.Size}; the cpu backend runs groups that are multiples of {CodeReader.Step}, or whole rows");
        if (weight.Activations is { } activations && activations.Grid(weight.Inputs).Size != Grid.Size)
            throw new ArgumentException($"{weight.Name}: weights in groups of {Grid.Size}, activations in groups of {activations.Grid(weight.Inputs).Size}; they must be equal", nameof(weight));
        var scales = weight.Scales;
        _scales = new NativeBuffer((long)scales.Length * sizeof(float));
        System.Numerics.Tensors.TensorPrimitives.ConvertToSingle(scales, new Span<float>(_scales.Floats, scales.Length));
        _bias = new NativeBuffer((long)(weight.Outputs + 64) * sizeof(float));
        weight.Bias?.CopyTo(new Span<float>(_bias.Floats, weight.Outputs));
    }

    /// <summary>The groups of a row.</summary>
    public GroupGrid Grid { get; }

    /// <summary>Bits of a code.</summary>
    public int Bits { get; }

    /// <summary>Bytes from one row's codes to the next.</summary>
    public int RowBytes { get; }

    /// <summary>q [N, row bytes], in the mapped file, which the model keeps open.</summary>
    public byte* Codes => (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(_weight.Codes));

    /// <summary>s [N, G].</summary>
    public float* Scales => _scales.Floats;

    /// <summary>Z [N, G].</summary>
    public byte[] Zeros => _weight.Zeros;

    /// <summary>b [N], zero where there is none; readable for a vector past the end.</summary>
    public float* Bias => _bias.Floats;

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (!disposing) return;
        _scales.Dispose();
        _bias.Dispose();
    }
}
