using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>
/// AVX-512BW for weights of up to 4 bits: vpmaddubsw multiplies 64 pairs where vpdpbusd, which .NET offers at 256 bits only,
/// multiplies 32. Its sums of two products are at most 2·255·15 = 7,650, so four of them fit 16 bits; then vpmaddwd widens them.
/// </summary>
internal readonly unsafe struct DotProductAvx512 : IDotProduct
{
    /// <summary>Codes of more bits could overflow 16 bits.</summary>
    public const int MaxBits = 4;

    public static int TileRows => 12;

    public static void Multiply(byte* rows, int stride, int quads, sbyte* panel, in GroupTerms terms, float* outputs)
    {
        // A copy of its own: through the reference every field would be loaded anew after each store.
        var own = terms;
        // Twelve row pointers would not fit the general registers: three, and multiples of the stride in the addresses.
        var once = (nint)stride;
        var thrice = 3 * once;
        var p0 = rows;
        var p4 = p0 + 4 * once;
        var p8 = p4 + 4 * once;
        Vector512<int> c0 = default, c1 = default, c2 = default, c3 = default, c4 = default, c5 = default, c6 = default, c7 = default, c8 = default, c9 = default, c10 = default, c11 = default;
        var k = 0;
        for (; k <= quads - 4; k += 4, panel += 256, p0 += 16, p4 += 16, p8 += 16)
        {
            var b0 = Vector512.Load(panel);
            var b1 = Vector512.Load(panel + 64);
            var b2 = Vector512.Load(panel + 128);
            var b3 = Vector512.Load(panel + 192);
            c0 += Four(p0, b0, b1, b2, b3);
            c1 += Four(p0 + once, b0, b1, b2, b3);
            c2 += Four(p0 + 2 * once, b0, b1, b2, b3);
            c3 += Four(p0 + thrice, b0, b1, b2, b3);
            c4 += Four(p4, b0, b1, b2, b3);
            c5 += Four(p4 + once, b0, b1, b2, b3);
            c6 += Four(p4 + 2 * once, b0, b1, b2, b3);
            c7 += Four(p4 + thrice, b0, b1, b2, b3);
            c8 += Four(p8, b0, b1, b2, b3);
            c9 += Four(p8 + once, b0, b1, b2, b3);
            c10 += Four(p8 + 2 * once, b0, b1, b2, b3);
            c11 += Four(p8 + thrice, b0, b1, b2, b3);
        }

        for (; k < quads; k++, panel += 64, p0 += 4, p4 += 4, p8 += 4)
        {
            var b = Vector512.Load(panel);
            c0 += Widen(One(p0, b));
            c1 += Widen(One(p0 + once, b));
            c2 += Widen(One(p0 + 2 * once, b));
            c3 += Widen(One(p0 + thrice, b));
            c4 += Widen(One(p4, b));
            c5 += Widen(One(p4 + once, b));
            c6 += Widen(One(p4 + 2 * once, b));
            c7 += Widen(One(p4 + thrice, b));
            c8 += Widen(One(p8, b));
            c9 += Widen(One(p8 + once, b));
            c10 += Widen(One(p8 + 2 * once, b));
            c11 += Widen(One(p8 + thrice, b));
        }

        own.Add(c0, 0, outputs);
        own.Add(c1, 1, outputs);
        own.Add(c2, 2, outputs);
        own.Add(c3, 3, outputs);
        own.Add(c4, 4, outputs);
        own.Add(c5, 5, outputs);
        own.Add(c6, 6, outputs);
        own.Add(c7, 7, outputs);
        own.Add(c8, 8, outputs);
        own.Add(c9, 9, outputs);
        own.Add(c10, 10, outputs);
        own.Add(c11, 11, outputs);
    }

    /// <summary>Four quads of one row times four of the panel, summed in 16 bits and widened.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Four(byte* row, Vector512<sbyte> b0, Vector512<sbyte> b1, Vector512<sbyte> b2, Vector512<sbyte> b3) =>
        Widen(One(row, b0) + One(row + 4, b1) + One(row + 8, b2) + One(row + 12, b3));

    /// <summary>A quad of one row, times each of sixteen columns: two sums of two products a column.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<short> One(byte* row, Vector512<sbyte> b) => Avx512BW.MultiplyAddAdjacent(Vector512.Create(*(int*)row).AsByte(), b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Widen(Vector512<short> sums) => Avx512BW.MultiplyAddAdjacent(sums, Vector512<short>.One);
}
