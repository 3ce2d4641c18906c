namespace DiTRuntime.Quantization;

/// <summary>
/// How the input of a linear layer is quantized: u8 codes, asymmetric, a scale and a zero point for each token and group,
/// found at run time (dynamic), or fixed per group in advance (static, the baseline that dynamic ranges are compared with).
/// </summary>
/// <remarks>See <see cref="ActivationQuantizer"/> for the arithmetic.</remarks>
/// <param name="GroupSize">Values in a group; 0 for the whole row.</param>
public sealed record ActivationFormat(int GroupSize)
{
    /// <summary>Bits of a code.</summary>
    public const int Bits = 8;

    /// <summary>Fixed scales [G], or null for dynamic ranges.</summary>
    public float[]? StaticScales { get; init; }

    /// <summary>Fixed zero points [G], with <see cref="StaticScales"/>.</summary>
    public byte[]? StaticZeros { get; init; }

    /// <summary>The groups of a row.</summary>
    public GroupGrid Grid(int rowLength) => new(rowLength, GroupSize);
}
