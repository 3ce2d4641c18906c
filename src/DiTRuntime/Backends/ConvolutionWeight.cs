using DiTRuntime.Checkpoints;

namespace DiTRuntime.Backends;

/// <summary>A convolution's weight as the file holds it: [Cout, Cin, k, k].</summary>
public sealed class ConvolutionWeight
{
    private readonly CheckpointTensor _weight;

    /// <param name="name">The layer's name, for errors.</param>
    /// <param name="weight">[Cout, Cin, k, k], or [Cout, Cin] for a pointwise layer stored as a matrix.</param>
    /// <param name="bias">[Cout] in fp32, or null.</param>
    public ConvolutionWeight(string name, CheckpointTensor weight, float[]? bias)
    {
        Name = name;
        Outputs = weight.Shape[0];
        Inputs = weight.Shape[1];
        KernelSize = weight.Shape.Length == 4 ? weight.Shape[2] : 1;
        Bias = bias;
        _weight = weight;
    }

    /// <summary>The layer's name, for errors.</summary>
    public string Name { get; }

    /// <summary>The file it comes from, for errors.</summary>
    public string File => _weight.File;

    /// <summary>Cout.</summary>
    public int Outputs { get; }

    /// <summary>Cin.</summary>
    public int Inputs { get; }

    /// <summary>Side of the square kernel.</summary>
    public int KernelSize { get; }

    /// <summary>b [Cout] in fp32, or null.</summary>
    public float[]? Bias { get; }

    /// <summary>The element type that holds every value as the file has it; F64 is read in fp32.</summary>
    internal ElementType StoredType => _weight.Type is ElementType.F16 or ElementType.BF16 ? _weight.Type : ElementType.F32;

    /// <summary>The weight [Cout, Cin, k, k] in fp32.</summary>
    /// <exception cref="InvalidFileException">A value is NaN or infinite.</exception>
    public float[] ToArray()
    {
        var values = _weight.ToArray();
        Finite.Check(values, _weight);
        return values;
    }
}
