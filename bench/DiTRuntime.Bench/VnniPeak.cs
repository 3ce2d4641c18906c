using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DiTRuntime.Bench;

/// <summary>The machine's roof for 8-bit products: AVX-VNNI between registers, on every thread, nothing loaded or stored.</summary>
internal static class VnniPeak
{
    private const int Chains = 12;

    /// <summary>Products of one instruction: eight sums of four.</summary>
    private const int ProductsPerInstruction = 32;

    /// <summary>Performs about so many multiply-adds, shared out over the threads.</summary>
    public static int Run(double multiplyAdds, int threadCount)
    {
        var iterations = (int)(multiplyAdds / threadCount / (Chains * ProductsPerInstruction));
        return Peak.OnThreads(threadCount, () => Loop(iterations));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Loop(int iterations)
    {
        var a = Vector256.Create((byte)3);
        var b = Vector256.Create((sbyte)-2);
        Vector256<int> c0 = default, c1 = default, c2 = default, c3 = default, c4 = default, c5 = default, c6 = default, c7 = default, c8 = default, c9 = default, c10 = default, c11 = default;
        for (var i = 0; i < iterations; i++)
        {
            c0 = AvxVnni.MultiplyWideningAndAdd(c0, a, b);
            c1 = AvxVnni.MultiplyWideningAndAdd(c1, a, b);
            c2 = AvxVnni.MultiplyWideningAndAdd(c2, a, b);
            c3 = AvxVnni.MultiplyWideningAndAdd(c3, a, b);
            c4 = AvxVnni.MultiplyWideningAndAdd(c4, a, b);
            c5 = AvxVnni.MultiplyWideningAndAdd(c5, a, b);
            c6 = AvxVnni.MultiplyWideningAndAdd(c6, a, b);
            c7 = AvxVnni.MultiplyWideningAndAdd(c7, a, b);
            c8 = AvxVnni.MultiplyWideningAndAdd(c8, a, b);
            c9 = AvxVnni.MultiplyWideningAndAdd(c9, a, b);
            c10 = AvxVnni.MultiplyWideningAndAdd(c10, a, b);
            c11 = AvxVnni.MultiplyWideningAndAdd(c11, a, b);
        }

        return Vector256.Sum(c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11);
    }
}
