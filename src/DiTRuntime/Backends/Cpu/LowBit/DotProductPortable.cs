using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>128-bit vectors of any machine, one row at a time; a u8 × s8 product fits 16 bits.</summary>
internal readonly unsafe struct DotProductPortable : IDotProduct
{
    public static int TileRows => 1;

    public static void Multiply(byte* rows, int stride, int quads, sbyte* panel, in GroupTerms terms, float* outputs)
    {
        var sums = stackalloc int[IntegerPanel.Width];
        for (var column = 0; column < IntegerPanel.Width; column += 4)
        {
            // Each vector holds the four running sums of one column, by position in its quad.
            Vector128<int> c0 = default, c1 = default, c2 = default, c3 = default;
            for (var k = 0; k < quads; k++)
            {
                var x = Vector128.Create(Widen(rows + 4 * k)).AsInt16();
                var w = Vector128.Load(panel + 64 * k + 4 * column);
                var low = x * Vector128.WidenLower(w);
                var high = x * Vector128.WidenUpper(w);
                c0 += Vector128.WidenLower(low);
                c1 += Vector128.WidenUpper(low);
                c2 += Vector128.WidenLower(high);
                c3 += Vector128.WidenUpper(high);
            }

            sums[column] = Vector128.Sum(c0);
            sums[column + 1] = Vector128.Sum(c1);
            sums[column + 2] = Vector128.Sum(c2);
            sums[column + 3] = Vector128.Sum(c3);
        }

        terms.Add(Vector256.Load(sums), Vector256.Load(sums + 8), 0, outputs);
    }

    /// <summary>Four u8 as four 16-bit values.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Widen(byte* four) => four[0] | (ulong)four[1] << 16 | (ulong)four[2] << 32 | (ulong)four[3] << 48;
}
