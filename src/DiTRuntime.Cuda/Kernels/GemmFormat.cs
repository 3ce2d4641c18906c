namespace DiTRuntime.Cuda.Kernels;

/// <summary>What a product multiplies; the values are those of FORMAT in kernels/gemm/configuration.cuh.</summary>
internal enum GemmFormat
{
    /// <summary>Halves times halves.</summary>
    F16 = 0,

    /// <summary>Codes of a byte times codes of a byte; weights of 5, 6 and 8 bits.</summary>
    W8A8 = 1,

    /// <summary>Activations of a byte times weights of half a byte: 2, 3 and 4 bits.</summary>
    W4A8 = 2,

    /// <summary>Halves times weights of a byte, dequantized as they are read.</summary>
    W8A16 = 3,

    /// <summary>Halves times weights of half a byte, dequantized as they are read.</summary>
    W4A16 = 4,

    /// <summary>Halves times codewords of halves, looked up as they are read.</summary>
    LookupA16 = 5,

    /// <summary>Activations of a byte times codewords of bytes with signs, looked up as they are read.</summary>
    LookupA8 = 6,
}

/// <summary>Questions about formats.</summary>
internal static class GemmFormats
{
    /// <summary>Whether both factors are codes and their products integers.</summary>
    public static bool IsInteger(this GemmFormat format) => format is GemmFormat.W8A8 or GemmFormat.W4A8 or GemmFormat.LookupA8;

    /// <summary>Whether the input is halves and the weight codes.</summary>
    public static bool IsWeightOnly(this GemmFormat format) => format is GemmFormat.W8A16 or GemmFormat.W4A16;

    /// <summary>Whether the weight is codes of codebooks.</summary>
    public static bool IsLookup(this GemmFormat format) => format is GemmFormat.LookupA16 or GemmFormat.LookupA8;
}
