using System.Runtime.Intrinsics;

namespace DiTRuntime.Calibration.Numerics;

/// <summary>Pieces of solving x Lᵀ = b for many rows b, in fp64: x_j = (b_j − Σ_{k&lt;j} x_k L_jk) / L_jj.</summary>
internal static unsafe class TriangularSolve
{
    private const int Tile = 4;

    /// <summary>Depth of a pass: 64 rows of L stay in the second cache.</summary>
    private const int DepthBlock = 512;

    /// <summary>b[r, end + c] −= Σ_{start ≤ k &lt; end} b[r, k]·l[c, k].</summary>
    /// <param name="rows">in/out [rowCount, ≥ end + columnCount], from column 0 on.</param>
    /// <param name="rowCount">Rows.</param>
    /// <param name="lower">in [columnCount, ≥ end]: rows end, end + 1, ... of L.</param>
    /// <param name="columnCount">Columns to be changed.</param>
    /// <param name="stride">Values from one row to the next, in both.</param>
    /// <param name="start">First k, a multiple of 8.</param>
    /// <param name="end">Past the last k, a multiple of 8.</param>
    public static void Subtract(double* rows, int rowCount, double* lower, int columnCount, nint stride, int start, int end)
    {
        var sums = stackalloc double[Tile * Tile];
        for (var k = start; k < end; k += DepthBlock)
        {
            var depth = Math.Min(DepthBlock, end - k);
            for (var r = 0; r < rowCount; r += Tile)
            {
                for (var c = 0; c < columnCount; c += Tile)
                {
                    Dots(rows + r * stride + k, Math.Min(Tile, rowCount - r), lower + c * stride + k, Math.Min(Tile, columnCount - c), stride, depth, sums);
                    for (var i = 0; i < Math.Min(Tile, rowCount - r); i++)
                        for (var j = 0; j < Math.Min(Tile, columnCount - c); j++)
                            rows[(r + i) * stride + end + c + j] -= sums[i * Tile + j];
                }
            }
        }
    }

    /// <summary>Solves one row within a band, after <see cref="Subtract"/> has brought in what stands before it.</summary>
    /// <param name="row">in/out x.</param>
    /// <param name="lower">in L, from row 0 on.</param>
    /// <param name="stride">Values from one row of L to the next.</param>
    /// <param name="start">First column of the band.</param>
    /// <param name="end">Past the last column to be solved.</param>
    public static void Row(double* row, double* lower, nint stride, int start, int end)
    {
        for (var j = start; j < end; j++)
        {
            var l = lower + j * stride;
            var sum = row[j];
            for (var k = start; k < j; k++) sum -= row[k] * l[k];
            row[j] = sum / l[j];
        }
    }

    /// <summary>Sixteen inner products; rows past the end repeat the last one.</summary>
    private static void Dots(double* a, int aCount, double* b, int bCount, nint stride, int depth, double* sums)
    {
        var a0 = a;
        var a1 = a + Math.Min(1, aCount - 1) * stride;
        var a2 = a + Math.Min(2, aCount - 1) * stride;
        var a3 = a + Math.Min(3, aCount - 1) * stride;
        var b0 = b;
        var b1 = b + Math.Min(1, bCount - 1) * stride;
        var b2 = b + Math.Min(2, bCount - 1) * stride;
        var b3 = b + Math.Min(3, bCount - 1) * stride;
        Vector512<double> c00 = default, c01 = default, c02 = default, c03 = default;
        Vector512<double> c10 = default, c11 = default, c12 = default, c13 = default;
        Vector512<double> c20 = default, c21 = default, c22 = default, c23 = default;
        Vector512<double> c30 = default, c31 = default, c32 = default, c33 = default;
        for (nint k = 0; k < depth; k += 8)
        {
            var y0 = Vector512.Load(b0 + k);
            var y1 = Vector512.Load(b1 + k);
            var y2 = Vector512.Load(b2 + k);
            var y3 = Vector512.Load(b3 + k);
            var x = Vector512.Load(a0 + k);
            c00 = Vector512.FusedMultiplyAdd(x, y0, c00);
            c01 = Vector512.FusedMultiplyAdd(x, y1, c01);
            c02 = Vector512.FusedMultiplyAdd(x, y2, c02);
            c03 = Vector512.FusedMultiplyAdd(x, y3, c03);
            x = Vector512.Load(a1 + k);
            c10 = Vector512.FusedMultiplyAdd(x, y0, c10);
            c11 = Vector512.FusedMultiplyAdd(x, y1, c11);
            c12 = Vector512.FusedMultiplyAdd(x, y2, c12);
            c13 = Vector512.FusedMultiplyAdd(x, y3, c13);
            x = Vector512.Load(a2 + k);
            c20 = Vector512.FusedMultiplyAdd(x, y0, c20);
            c21 = Vector512.FusedMultiplyAdd(x, y1, c21);
            c22 = Vector512.FusedMultiplyAdd(x, y2, c22);
            c23 = Vector512.FusedMultiplyAdd(x, y3, c23);
            x = Vector512.Load(a3 + k);
            c30 = Vector512.FusedMultiplyAdd(x, y0, c30);
            c31 = Vector512.FusedMultiplyAdd(x, y1, c31);
            c32 = Vector512.FusedMultiplyAdd(x, y2, c32);
            c33 = Vector512.FusedMultiplyAdd(x, y3, c33);
        }

        sums[0] = Vector512.Sum(c00);
        sums[1] = Vector512.Sum(c01);
        sums[2] = Vector512.Sum(c02);
        sums[3] = Vector512.Sum(c03);
        sums[4] = Vector512.Sum(c10);
        sums[5] = Vector512.Sum(c11);
        sums[6] = Vector512.Sum(c12);
        sums[7] = Vector512.Sum(c13);
        sums[8] = Vector512.Sum(c20);
        sums[9] = Vector512.Sum(c21);
        sums[10] = Vector512.Sum(c22);
        sums[11] = Vector512.Sum(c23);
        sums[12] = Vector512.Sum(c30);
        sums[13] = Vector512.Sum(c31);
        sums[14] = Vector512.Sum(c32);
        sums[15] = Vector512.Sum(c33);
    }
}
