using DiTRuntime.Backends.Cpu.Simd;

namespace DiTRuntime.Backends.Cpu;

/// <summary>
/// The inner product that all matrix work on the CPU goes through: a few rows times one packed panel of columns,
/// accumulated in registers.
/// </summary>
/// <remarks>
/// A panel is [depth, 3 vectors]: for each k, the weights of 3·lanes neighbouring outputs. Rows come as pointers, so
/// that a convolution can point each tap at its pixel without copying. With 32 registers 8 rows × 3 vectors leave
/// room for the panel's 3 vectors and a broadcast: 24 multiply-adds for 11 loads; with 16 registers 4 rows, 12 for 7.
/// Each output is one chain of fused multiply-adds over ascending k, whatever the tile: the order that makes results
/// independent of batch, threads and vector width.
/// </remarks>
internal static unsafe class PanelProduct<TSimd, TVec>
    where TSimd : struct, ISimd<TVec>
    where TVec : struct
{
    /// <summary>Output columns of a panel.</summary>
    public static int PanelWidth => 3 * TSimd.Lanes;

    /// <summary>Rows of a tile.</summary>
    public static int TileRows => TSimd.HasManyRegisters ? 8 : 4;

    /// <summary>accumulators (+)= rows × panel.</summary>
    /// <param name="rows">in [TileRows] pointers to depth values each.</param>
    /// <param name="depth">Length of the product.</param>
    /// <param name="panel">in [depth, PanelWidth].</param>
    /// <param name="accumulators">in/out [TileRows, PanelWidth].</param>
    /// <param name="first">Whether the sum starts here, and the accumulators hold nothing yet.</param>
    public static void Multiply(float** rows, int depth, float* panel, float* accumulators, bool first)
    {
        if (TSimd.HasManyRegisters) Tile8(rows, depth, panel, accumulators, first);
        else Tile4(rows, depth, panel, accumulators, first);
    }

    private static void Tile8(float** rows, int depth, float* panel, float* accumulators, bool first)
    {
        var lanes = TSimd.Lanes;
        var a0 = rows[0];
        var a1 = rows[1];
        var a2 = rows[2];
        var a3 = rows[3];
        var a4 = rows[4];
        var a5 = rows[5];
        var a6 = rows[6];
        var a7 = rows[7];
        TVec c00, c01, c02;
        TVec c10, c11, c12;
        TVec c20, c21, c22;
        TVec c30, c31, c32;
        TVec c40, c41, c42;
        TVec c50, c51, c52;
        TVec c60, c61, c62;
        TVec c70, c71, c72;
        if (first)
        {
            c00 = c01 = c02 = default;
            c10 = c11 = c12 = default;
            c20 = c21 = c22 = default;
            c30 = c31 = c32 = default;
            c40 = c41 = c42 = default;
            c50 = c51 = c52 = default;
            c60 = c61 = c62 = default;
            c70 = c71 = c72 = default;
        }
        else
        {
            c00 = TSimd.Load(accumulators);
            c01 = TSimd.Load(accumulators + 1 * lanes);
            c02 = TSimd.Load(accumulators + 2 * lanes);
            c10 = TSimd.Load(accumulators + 3 * lanes);
            c11 = TSimd.Load(accumulators + 4 * lanes);
            c12 = TSimd.Load(accumulators + 5 * lanes);
            c20 = TSimd.Load(accumulators + 6 * lanes);
            c21 = TSimd.Load(accumulators + 7 * lanes);
            c22 = TSimd.Load(accumulators + 8 * lanes);
            c30 = TSimd.Load(accumulators + 9 * lanes);
            c31 = TSimd.Load(accumulators + 10 * lanes);
            c32 = TSimd.Load(accumulators + 11 * lanes);
            c40 = TSimd.Load(accumulators + 12 * lanes);
            c41 = TSimd.Load(accumulators + 13 * lanes);
            c42 = TSimd.Load(accumulators + 14 * lanes);
            c50 = TSimd.Load(accumulators + 15 * lanes);
            c51 = TSimd.Load(accumulators + 16 * lanes);
            c52 = TSimd.Load(accumulators + 17 * lanes);
            c60 = TSimd.Load(accumulators + 18 * lanes);
            c61 = TSimd.Load(accumulators + 19 * lanes);
            c62 = TSimd.Load(accumulators + 20 * lanes);
            c70 = TSimd.Load(accumulators + 21 * lanes);
            c71 = TSimd.Load(accumulators + 22 * lanes);
            c72 = TSimd.Load(accumulators + 23 * lanes);
        }

        for (nint k = 0; k < depth; k++)
        {
            var b0 = TSimd.Load(panel);
            var b1 = TSimd.Load(panel + lanes);
            var b2 = TSimd.Load(panel + 2 * lanes);
            panel += 3 * lanes;
            var x0 = TSimd.Broadcast(a0[k]);
            c00 = TSimd.MultiplyAdd(x0, b0, c00);
            c01 = TSimd.MultiplyAdd(x0, b1, c01);
            c02 = TSimd.MultiplyAdd(x0, b2, c02);
            var x1 = TSimd.Broadcast(a1[k]);
            c10 = TSimd.MultiplyAdd(x1, b0, c10);
            c11 = TSimd.MultiplyAdd(x1, b1, c11);
            c12 = TSimd.MultiplyAdd(x1, b2, c12);
            var x2 = TSimd.Broadcast(a2[k]);
            c20 = TSimd.MultiplyAdd(x2, b0, c20);
            c21 = TSimd.MultiplyAdd(x2, b1, c21);
            c22 = TSimd.MultiplyAdd(x2, b2, c22);
            var x3 = TSimd.Broadcast(a3[k]);
            c30 = TSimd.MultiplyAdd(x3, b0, c30);
            c31 = TSimd.MultiplyAdd(x3, b1, c31);
            c32 = TSimd.MultiplyAdd(x3, b2, c32);
            var x4 = TSimd.Broadcast(a4[k]);
            c40 = TSimd.MultiplyAdd(x4, b0, c40);
            c41 = TSimd.MultiplyAdd(x4, b1, c41);
            c42 = TSimd.MultiplyAdd(x4, b2, c42);
            var x5 = TSimd.Broadcast(a5[k]);
            c50 = TSimd.MultiplyAdd(x5, b0, c50);
            c51 = TSimd.MultiplyAdd(x5, b1, c51);
            c52 = TSimd.MultiplyAdd(x5, b2, c52);
            var x6 = TSimd.Broadcast(a6[k]);
            c60 = TSimd.MultiplyAdd(x6, b0, c60);
            c61 = TSimd.MultiplyAdd(x6, b1, c61);
            c62 = TSimd.MultiplyAdd(x6, b2, c62);
            var x7 = TSimd.Broadcast(a7[k]);
            c70 = TSimd.MultiplyAdd(x7, b0, c70);
            c71 = TSimd.MultiplyAdd(x7, b1, c71);
            c72 = TSimd.MultiplyAdd(x7, b2, c72);
        }

        TSimd.Store(c00, accumulators);
        TSimd.Store(c01, accumulators + 1 * lanes);
        TSimd.Store(c02, accumulators + 2 * lanes);
        TSimd.Store(c10, accumulators + 3 * lanes);
        TSimd.Store(c11, accumulators + 4 * lanes);
        TSimd.Store(c12, accumulators + 5 * lanes);
        TSimd.Store(c20, accumulators + 6 * lanes);
        TSimd.Store(c21, accumulators + 7 * lanes);
        TSimd.Store(c22, accumulators + 8 * lanes);
        TSimd.Store(c30, accumulators + 9 * lanes);
        TSimd.Store(c31, accumulators + 10 * lanes);
        TSimd.Store(c32, accumulators + 11 * lanes);
        TSimd.Store(c40, accumulators + 12 * lanes);
        TSimd.Store(c41, accumulators + 13 * lanes);
        TSimd.Store(c42, accumulators + 14 * lanes);
        TSimd.Store(c50, accumulators + 15 * lanes);
        TSimd.Store(c51, accumulators + 16 * lanes);
        TSimd.Store(c52, accumulators + 17 * lanes);
        TSimd.Store(c60, accumulators + 18 * lanes);
        TSimd.Store(c61, accumulators + 19 * lanes);
        TSimd.Store(c62, accumulators + 20 * lanes);
        TSimd.Store(c70, accumulators + 21 * lanes);
        TSimd.Store(c71, accumulators + 22 * lanes);
        TSimd.Store(c72, accumulators + 23 * lanes);
    }

    private static void Tile4(float** rows, int depth, float* panel, float* accumulators, bool first)
    {
        var lanes = TSimd.Lanes;
        var a0 = rows[0];
        var a1 = rows[1];
        var a2 = rows[2];
        var a3 = rows[3];
        TVec c00, c01, c02;
        TVec c10, c11, c12;
        TVec c20, c21, c22;
        TVec c30, c31, c32;
        if (first)
        {
            c00 = c01 = c02 = default;
            c10 = c11 = c12 = default;
            c20 = c21 = c22 = default;
            c30 = c31 = c32 = default;
        }
        else
        {
            c00 = TSimd.Load(accumulators);
            c01 = TSimd.Load(accumulators + 1 * lanes);
            c02 = TSimd.Load(accumulators + 2 * lanes);
            c10 = TSimd.Load(accumulators + 3 * lanes);
            c11 = TSimd.Load(accumulators + 4 * lanes);
            c12 = TSimd.Load(accumulators + 5 * lanes);
            c20 = TSimd.Load(accumulators + 6 * lanes);
            c21 = TSimd.Load(accumulators + 7 * lanes);
            c22 = TSimd.Load(accumulators + 8 * lanes);
            c30 = TSimd.Load(accumulators + 9 * lanes);
            c31 = TSimd.Load(accumulators + 10 * lanes);
            c32 = TSimd.Load(accumulators + 11 * lanes);
        }

        for (nint k = 0; k < depth; k++)
        {
            var b0 = TSimd.Load(panel);
            var b1 = TSimd.Load(panel + lanes);
            var b2 = TSimd.Load(panel + 2 * lanes);
            panel += 3 * lanes;
            var x0 = TSimd.Broadcast(a0[k]);
            c00 = TSimd.MultiplyAdd(x0, b0, c00);
            c01 = TSimd.MultiplyAdd(x0, b1, c01);
            c02 = TSimd.MultiplyAdd(x0, b2, c02);
            var x1 = TSimd.Broadcast(a1[k]);
            c10 = TSimd.MultiplyAdd(x1, b0, c10);
            c11 = TSimd.MultiplyAdd(x1, b1, c11);
            c12 = TSimd.MultiplyAdd(x1, b2, c12);
            var x2 = TSimd.Broadcast(a2[k]);
            c20 = TSimd.MultiplyAdd(x2, b0, c20);
            c21 = TSimd.MultiplyAdd(x2, b1, c21);
            c22 = TSimd.MultiplyAdd(x2, b2, c22);
            var x3 = TSimd.Broadcast(a3[k]);
            c30 = TSimd.MultiplyAdd(x3, b0, c30);
            c31 = TSimd.MultiplyAdd(x3, b1, c31);
            c32 = TSimd.MultiplyAdd(x3, b2, c32);
        }

        TSimd.Store(c00, accumulators);
        TSimd.Store(c01, accumulators + 1 * lanes);
        TSimd.Store(c02, accumulators + 2 * lanes);
        TSimd.Store(c10, accumulators + 3 * lanes);
        TSimd.Store(c11, accumulators + 4 * lanes);
        TSimd.Store(c12, accumulators + 5 * lanes);
        TSimd.Store(c20, accumulators + 6 * lanes);
        TSimd.Store(c21, accumulators + 7 * lanes);
        TSimd.Store(c22, accumulators + 8 * lanes);
        TSimd.Store(c30, accumulators + 9 * lanes);
        TSimd.Store(c31, accumulators + 10 * lanes);
        TSimd.Store(c32, accumulators + 11 * lanes);
    }
}
