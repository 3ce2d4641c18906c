using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>
/// AVX-VNNI: vpdpbusd multiplies four u8 by four s8 and adds all to a 32-bit sum. Of 16 registers 12 hold sums (6 rows × 2
/// vectors), two the panel, one a broadcast: 12 of them for 8 loads.
/// </summary>
internal readonly unsafe struct DotProductAvxVnni : IDotProduct
{
    public static int TileRows => 6;

    public static void Multiply(byte* rows, int stride, int quads, sbyte* panel, in GroupTerms terms, float* outputs)
    {
        // A copy of its own: through the reference every field would be loaded anew after each store.
        var own = terms;
        var a0 = (int*)rows;
        var a1 = (int*)(rows + 1 * (nint)stride);
        var a2 = (int*)(rows + 2 * (nint)stride);
        var a3 = (int*)(rows + 3 * (nint)stride);
        var a4 = (int*)(rows + 4 * (nint)stride);
        var a5 = (int*)(rows + 5 * (nint)stride);
        Vector256<int> c00 = default, c01 = default;
        Vector256<int> c10 = default, c11 = default;
        Vector256<int> c20 = default, c21 = default;
        Vector256<int> c30 = default, c31 = default;
        Vector256<int> c40 = default, c41 = default;
        Vector256<int> c50 = default, c51 = default;
        for (nint k = 0; k < quads; k++, panel += 4 * IntegerPanel.Width)
        {
            var b0 = Vector256.Load(panel);
            var b1 = Vector256.Load(panel + 32);
            var x0 = Vector256.Create(a0[k]).AsByte();
            c00 = AvxVnni.MultiplyWideningAndAdd(c00, x0, b0);
            c01 = AvxVnni.MultiplyWideningAndAdd(c01, x0, b1);
            var x1 = Vector256.Create(a1[k]).AsByte();
            c10 = AvxVnni.MultiplyWideningAndAdd(c10, x1, b0);
            c11 = AvxVnni.MultiplyWideningAndAdd(c11, x1, b1);
            var x2 = Vector256.Create(a2[k]).AsByte();
            c20 = AvxVnni.MultiplyWideningAndAdd(c20, x2, b0);
            c21 = AvxVnni.MultiplyWideningAndAdd(c21, x2, b1);
            var x3 = Vector256.Create(a3[k]).AsByte();
            c30 = AvxVnni.MultiplyWideningAndAdd(c30, x3, b0);
            c31 = AvxVnni.MultiplyWideningAndAdd(c31, x3, b1);
            var x4 = Vector256.Create(a4[k]).AsByte();
            c40 = AvxVnni.MultiplyWideningAndAdd(c40, x4, b0);
            c41 = AvxVnni.MultiplyWideningAndAdd(c41, x4, b1);
            var x5 = Vector256.Create(a5[k]).AsByte();
            c50 = AvxVnni.MultiplyWideningAndAdd(c50, x5, b0);
            c51 = AvxVnni.MultiplyWideningAndAdd(c51, x5, b1);
        }

        own.Add(c00, c01, 0, outputs);
        own.Add(c10, c11, 1, outputs);
        own.Add(c20, c21, 2, outputs);
        own.Add(c30, c31, 3, outputs);
        own.Add(c40, c41, 4, outputs);
        own.Add(c50, c51, 5, outputs);
    }
}
