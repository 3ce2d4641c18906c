using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>
/// AVX2: vpmaddwd on 16-bit copies. The shorter vpmaddubsw would saturate: two products of u8 and s8 pass 32,767.
/// Two rows × four vectors; a vector sums four columns in two halves, joined at the end.
/// </summary>
internal readonly unsafe struct DotProductAvx2 : IDotProduct
{
    public static int TileRows => 2;

    public static void Multiply(byte* rows, int stride, int quads, sbyte* panel, in GroupTerms terms, float* outputs)
    {
        var a0 = (int*)rows;
        var a1 = (int*)(rows + stride);
        Vector256<int> c00 = default, c01 = default, c02 = default, c03 = default;
        Vector256<int> c10 = default, c11 = default, c12 = default, c13 = default;
        for (nint k = 0; k < quads; k++, panel += 4 * IntegerPanel.Width)
        {
            var x0 = Spread(a0[k]);
            var x1 = Spread(a1[k]);
            var b = Avx2.ConvertToVector256Int16(panel);
            c00 += Avx2.MultiplyAddAdjacent(x0, b);
            c10 += Avx2.MultiplyAddAdjacent(x1, b);
            b = Avx2.ConvertToVector256Int16(panel + 16);
            c01 += Avx2.MultiplyAddAdjacent(x0, b);
            c11 += Avx2.MultiplyAddAdjacent(x1, b);
            b = Avx2.ConvertToVector256Int16(panel + 32);
            c02 += Avx2.MultiplyAddAdjacent(x0, b);
            c12 += Avx2.MultiplyAddAdjacent(x1, b);
            b = Avx2.ConvertToVector256Int16(panel + 48);
            c03 += Avx2.MultiplyAddAdjacent(x0, b);
            c13 += Avx2.MultiplyAddAdjacent(x1, b);
        }

        terms.Add(Join(c00, c01), Join(c02, c03), 0, outputs);
        terms.Add(Join(c10, c11), Join(c12, c13), 1, outputs);
    }

    /// <summary>Four u8 as 16-bit values, four times over.</summary>
    private static Vector256<short> Spread(int four) =>
        Vector256.Create(Sse41.ConvertToVector128Int16(Vector128.CreateScalarUnsafe(four).AsByte()).AsInt64().ToScalar()).AsInt16();

    /// <summary>Adds neighbouring halves: eight columns in order.</summary>
    private static Vector256<int> Join(Vector256<int> low, Vector256<int> high) =>
        Avx2.Permute4x64(Avx2.HorizontalAdd(low, high).AsInt64(), 0b11_01_10_00).AsInt32();
}
