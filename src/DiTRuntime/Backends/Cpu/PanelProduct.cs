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

    /// <summary>sums (+)= rows × panel.</summary>
    /// <param name="rows">in [TileRows] pointers to depth values each.</param>
    /// <param name="depth">Length of the product.</param>
    /// <param name="panel">in [depth, PanelWidth].</param>
    /// <param name="sums">in/out [TileRows, stride], PanelWidth of each row.</param>
    /// <param name="stride">Values from one row of sums to the next.</param>
    /// <param name="first">Whether the sum starts here, and they hold nothing yet.</param>
    public static void Multiply(float** rows, int depth, float* panel, float* sums, int stride, bool first)
    {
        if (TSimd.HasManyRegisters) Tile8(rows, depth, panel, sums, stride, first);
        else Tile4(rows, depth, panel, sums, stride, first);
    }

    private static void Tile8(float** rows, int depth, float* panel, float* sums, int stride, bool first)
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
            c00 = TSimd.Load(sums);
            c01 = TSimd.Load(sums + lanes);
            c02 = TSimd.Load(sums + 2 * lanes);
            c10 = TSimd.Load(sums + stride);
            c11 = TSimd.Load(sums + stride + lanes);
            c12 = TSimd.Load(sums + stride + 2 * lanes);
            c20 = TSimd.Load(sums + 2 * (nint)stride);
            c21 = TSimd.Load(sums + 2 * (nint)stride + lanes);
            c22 = TSimd.Load(sums + 2 * (nint)stride + 2 * lanes);
            c30 = TSimd.Load(sums + 3 * (nint)stride);
            c31 = TSimd.Load(sums + 3 * (nint)stride + lanes);
            c32 = TSimd.Load(sums + 3 * (nint)stride + 2 * lanes);
            c40 = TSimd.Load(sums + 4 * (nint)stride);
            c41 = TSimd.Load(sums + 4 * (nint)stride + lanes);
            c42 = TSimd.Load(sums + 4 * (nint)stride + 2 * lanes);
            c50 = TSimd.Load(sums + 5 * (nint)stride);
            c51 = TSimd.Load(sums + 5 * (nint)stride + lanes);
            c52 = TSimd.Load(sums + 5 * (nint)stride + 2 * lanes);
            c60 = TSimd.Load(sums + 6 * (nint)stride);
            c61 = TSimd.Load(sums + 6 * (nint)stride + lanes);
            c62 = TSimd.Load(sums + 6 * (nint)stride + 2 * lanes);
            c70 = TSimd.Load(sums + 7 * (nint)stride);
            c71 = TSimd.Load(sums + 7 * (nint)stride + lanes);
            c72 = TSimd.Load(sums + 7 * (nint)stride + 2 * lanes);
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

        TSimd.Store(c00, sums);
        TSimd.Store(c01, sums + lanes);
        TSimd.Store(c02, sums + 2 * lanes);
        TSimd.Store(c10, sums + stride);
        TSimd.Store(c11, sums + stride + lanes);
        TSimd.Store(c12, sums + stride + 2 * lanes);
        TSimd.Store(c20, sums + 2 * (nint)stride);
        TSimd.Store(c21, sums + 2 * (nint)stride + lanes);
        TSimd.Store(c22, sums + 2 * (nint)stride + 2 * lanes);
        TSimd.Store(c30, sums + 3 * (nint)stride);
        TSimd.Store(c31, sums + 3 * (nint)stride + lanes);
        TSimd.Store(c32, sums + 3 * (nint)stride + 2 * lanes);
        TSimd.Store(c40, sums + 4 * (nint)stride);
        TSimd.Store(c41, sums + 4 * (nint)stride + lanes);
        TSimd.Store(c42, sums + 4 * (nint)stride + 2 * lanes);
        TSimd.Store(c50, sums + 5 * (nint)stride);
        TSimd.Store(c51, sums + 5 * (nint)stride + lanes);
        TSimd.Store(c52, sums + 5 * (nint)stride + 2 * lanes);
        TSimd.Store(c60, sums + 6 * (nint)stride);
        TSimd.Store(c61, sums + 6 * (nint)stride + lanes);
        TSimd.Store(c62, sums + 6 * (nint)stride + 2 * lanes);
        TSimd.Store(c70, sums + 7 * (nint)stride);
        TSimd.Store(c71, sums + 7 * (nint)stride + lanes);
        TSimd.Store(c72, sums + 7 * (nint)stride + 2 * lanes);
    }

    private static void Tile4(float** rows, int depth, float* panel, float* sums, int stride, bool first)
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
            c00 = TSimd.Load(sums);
            c01 = TSimd.Load(sums + lanes);
            c02 = TSimd.Load(sums + 2 * lanes);
            c10 = TSimd.Load(sums + stride);
            c11 = TSimd.Load(sums + stride + lanes);
            c12 = TSimd.Load(sums + stride + 2 * lanes);
            c20 = TSimd.Load(sums + 2 * (nint)stride);
            c21 = TSimd.Load(sums + 2 * (nint)stride + lanes);
            c22 = TSimd.Load(sums + 2 * (nint)stride + 2 * lanes);
            c30 = TSimd.Load(sums + 3 * (nint)stride);
            c31 = TSimd.Load(sums + 3 * (nint)stride + lanes);
            c32 = TSimd.Load(sums + 3 * (nint)stride + 2 * lanes);
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

        TSimd.Store(c00, sums);
        TSimd.Store(c01, sums + lanes);
        TSimd.Store(c02, sums + 2 * lanes);
        TSimd.Store(c10, sums + stride);
        TSimd.Store(c11, sums + stride + lanes);
        TSimd.Store(c12, sums + stride + 2 * lanes);
        TSimd.Store(c20, sums + 2 * (nint)stride);
        TSimd.Store(c21, sums + 2 * (nint)stride + lanes);
        TSimd.Store(c22, sums + 2 * (nint)stride + 2 * lanes);
        TSimd.Store(c30, sums + 3 * (nint)stride);
        TSimd.Store(c31, sums + 3 * (nint)stride + lanes);
        TSimd.Store(c32, sums + 3 * (nint)stride + 2 * lanes);
    }
}
