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

    public static void Multiply(byte** rows, int quads, sbyte* panel, int* sums)
    {
        var a0 = (int*)rows[0];
        var a1 = (int*)rows[1];
        var a2 = (int*)rows[2];
        var a3 = (int*)rows[3];
        var a4 = (int*)rows[4];
        var a5 = (int*)rows[5];
        Vector256<int> c00 = default, c01 = default;
        Vector256<int> c10 = default, c11 = default;
        Vector256<int> c20 = default, c21 = default;
        Vector256<int> c30 = default, c31 = default;
        Vector256<int> c40 = default, c41 = default;
        Vector256<int> c50 = default, c51 = default;
        for (nint k = 0; k < quads; k++, panel += 64)
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

        c00.Store(sums);
        c01.Store(sums + 8);
        c10.Store(sums + 16);
        c11.Store(sums + 24);
        c20.Store(sums + 32);
        c21.Store(sums + 40);
        c30.Store(sums + 48);
        c31.Store(sums + 56);
        c40.Store(sums + 64);
        c41.Store(sums + 72);
        c50.Store(sums + 80);
        c51.Store(sums + 88);
    }
}
