namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>
/// Sums of u8 × s8 products in 32 bits, for a few rows and a panel of 16 columns. Integers, so every way of adding them gives the
/// same sums.
/// </summary>
internal unsafe interface IDotProduct
{
    /// <summary>Rows of a tile.</summary>
    static abstract int TileRows { get; }

    /// <summary>sums = rows × panel.</summary>
    /// <param name="rows">in [TileRows] pointers to 4·quads codes u8.</param>
    /// <param name="quads">Length of the product in fours.</param>
    /// <param name="panel">in s8 [quads, 16, 4].</param>
    /// <param name="sums">out i32 [TileRows, 16].</param>
    static abstract void Multiply(byte** rows, int quads, sbyte* panel, int* sums);
}

/// <summary>Columns of a panel of integer weights: two vectors of eight sums.</summary>
internal static class IntegerPanel
{
    public const int Width = 16;
}

/// <summary>Which instructions the integer products use.</summary>
public enum IntegerPath
{
    /// <summary>The best the machine has.</summary>
    Auto,

    /// <summary>AVX-VNNI: four products and their sum in one instruction.</summary>
    AvxVnni,

    /// <summary>AVX2: products of 16-bit values, added in pairs.</summary>
    Avx2,

    /// <summary>128-bit vectors of any machine.</summary>
    Portable,
}
