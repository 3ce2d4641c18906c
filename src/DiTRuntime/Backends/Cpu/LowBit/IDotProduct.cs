using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>What turns the integer sums of one group into real numbers, for a tile's rows and a panel's columns.</summary>
/// <remarks>y += s_a s_w (Σ q_a q_w − Z_w Σ q_a − Z_a Σ (q_w − Z_w)); the parenthesis is exact in 32 bits.</remarks>
internal unsafe struct GroupTerms
{
    /// <summary>s_a, Z_a and Σ q_a, an element a row.</summary>
    public float* RowScales;
    public int* RowZeros;
    public int* RowSums;

    /// <summary>s_w, what is left of Z_w, and Σ (q_w − Z_w), [16].</summary>
    public float* ColumnScales;
    public int* ColumnZeros;
    public int* ColumnSums;

    /// <summary>Whether <see cref="ColumnZeros"/> are not all zero.</summary>
    public bool HasColumnZeros;

    /// <summary>Adds the sixteen columns of one row, given as two halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Add(Vector256<int> low, Vector256<int> high, int row, float* outputs)
    {
        var y = outputs + row * IntegerPanel.Width;
        if (Vector512.IsHardwareAccelerated)
        {
            Add(Vector512.Create(low, high), row, outputs);
            return;
        }

        AddHalf(low, row, 0, y);
        AddHalf(high, row, 8, y + 8);
    }

    /// <summary>Adds the sixteen columns of one row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Add(Vector512<int> sums, int row, float* outputs)
    {
        var y = outputs + row * IntegerPanel.Width;
        var total = sums - Vector512.Create(RowZeros[row]) * Vector512.Load(ColumnSums);
        if (HasColumnZeros) total -= Vector512.Create(RowSums[row]) * Vector512.Load(ColumnZeros);
        var scale = Vector512.Create(RowScales[row]) * Vector512.Load(ColumnScales);
        Vector512.FusedMultiplyAdd(scale, Vector512.ConvertToSingle(total), Vector512.Load(y)).Store(y);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly void AddHalf(Vector256<int> sums, int row, int column, float* y)
    {
        var total = sums - Vector256.Create(RowZeros[row]) * Vector256.Load(ColumnSums + column);
        if (HasColumnZeros) total -= Vector256.Create(RowSums[row]) * Vector256.Load(ColumnZeros + column);
        var scale = Vector256.Create(RowScales[row]) * Vector256.Load(ColumnScales + column);
        Vector256.FusedMultiplyAdd(scale, Vector256.ConvertToSingle(total), Vector256.Load(y)).Store(y);
    }
}

/// <summary>
/// Sums of u8 × s8 products in 32 bits, for a few rows and a panel of 16 columns. Integers, so every way of adding them gives the
/// same sums.
/// </summary>
internal unsafe interface IDotProduct
{
    /// <summary>Rows of a tile.</summary>
    static abstract int TileRows { get; }

    /// <summary>outputs += terms(rows × panel).</summary>
    /// <param name="rows">in u8 [TileRows, stride], 4·quads codes of each row are read.</param>
    /// <param name="stride">Bytes from one row to the next.</param>
    /// <param name="quads">Length of the product in fours.</param>
    /// <param name="panel">in s8 [quads, 16, 4].</param>
    /// <param name="terms">Scales and corrections.</param>
    /// <param name="outputs">in/out [TileRows, 16].</param>
    static abstract void Multiply(byte* rows, int stride, int quads, sbyte* panel, in GroupTerms terms, float* outputs);
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

    /// <summary>AVX-512BW for weights of up to 4 bits, AVX-VNNI for the others.</summary>
    Avx512,

    /// <summary>AVX-VNNI: four products and their sum in one instruction.</summary>
    AvxVnni,

    /// <summary>AVX2: products of 16-bit values, added in pairs.</summary>
    Avx2,

    /// <summary>128-bit vectors of any machine.</summary>
    Portable,
}
