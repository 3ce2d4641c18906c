using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>
/// What a linear layer y = x Wᵀ + b holds, in the layout of the file. A backend prepares each one once, at load,
/// into the layout its kernels want.
/// </summary>
/// <param name="outputs">N, rows of W.</param>
/// <param name="inputs">K, columns of W.</param>
/// <param name="bias">b [N], or null.</param>
public abstract class LinearWeight(string name, int outputs, int inputs, float[]? bias)
{
    /// <summary>The layer's name in the official layout, for errors and listings.</summary>
    public string Name { get; } = name;

    /// <summary>N, rows of W.</summary>
    public int Outputs { get; } = outputs;

    /// <summary>K, columns of W.</summary>
    public int Inputs { get; } = inputs;

    /// <summary>b [N] in fp32, or null.</summary>
    public float[]? Bias { get; } = bias;

    /// <summary>How the layer's input is quantized, or null where it stays in floating point.</summary>
    public ActivationFormat? Activations { get; init; }

    /// <summary>How a packed file stores the layer.</summary>
    public virtual LayerFormat LayerFormat => LayerFormat.Dense;

    /// <summary>Copies rows of W [rowCount, K] as fp32.</summary>
    /// <exception cref="InvalidFileException">A value is NaN or infinite.</exception>
    public abstract void CopyRows(int firstRow, int rowCount, Span<float> destination);
}

/// <summary>A floating-point weight, straight from the file: F32, F16, BF16 or F64.</summary>
/// <remarks>Several tensors stacked along N (the separate q, k and v of the diffusers layout) read as one matrix.</remarks>
public sealed class DenseWeight : LinearWeight
{
    private readonly CheckpointTensor[] _parts;

    /// <param name="name">The layer's name in the official layout.</param>
    /// <param name="parts">Tensors [Nᵢ, K, ...] to stack; trailing dimensions count into K.</param>
    /// <param name="bias">b [N], or null.</param>
    public DenseWeight(string name, IReadOnlyList<CheckpointTensor> parts, float[]? bias)
        : base(name, parts.Sum(p => p.Shape[0]), parts[0].Count / parts[0].Shape[0], bias) => _parts = [.. parts];

    /// <summary>The element type that holds every value as the file has it; parts of several types are read in fp32, and so is F64.</summary>
    internal ElementType StoredType => Array.TrueForAll(_parts, part => part.Type == _parts[0].Type) && _parts[0].Type is ElementType.F16 or ElementType.BF16 ? _parts[0].Type : ElementType.F32;

    /// <inheritdoc/>
    public override void CopyRows(int firstRow, int rowCount, Span<float> destination)
    {
        foreach (var part in _parts)
        {
            var rows = Math.Min(rowCount, part.Shape[0] - firstRow);
            if (rows > 0)
            {
                var block = destination[..(rows * Inputs)];
                part.CopyRows(firstRow, rows, block);
                Finite.Check(block, part);
                destination = destination[block.Length..];
                rowCount -= rows;
                firstRow = 0;
                if (rowCount == 0) return;
            }
            else
            {
                firstRow -= part.Shape[0];
            }
        }
    }
}
