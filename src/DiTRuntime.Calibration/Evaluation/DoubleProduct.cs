using System.Numerics;
using System.Runtime.CompilerServices;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>Products of matrices in double precision, each element a sum in a fixed order.</summary>
internal static unsafe class DoubleProduct
{
    private const int RowTile = 4;
    private const int VectorTile = 3;

    /// <summary>Rows of the right matrix that are passed over by all tiles together: 256 rows of a tile stay in the first cache.</summary>
    private const int DepthBlock = 256;

    /// <summary>C = AᵀB, [k, m]ᵀ·[k, n].</summary>
    /// <param name="a">[k, m].</param>
    /// <param name="b">[k, n].</param>
    /// <param name="k">Rows of both.</param>
    /// <param name="m">Columns of A.</param>
    /// <param name="n">Columns of B.</param>
    public static double[] TransposedTimes(double[] a, double[] b, int k, int m, int n)
    {
        var c = new double[m * n];
        Accumulate(a, b, k, m, n, c, lowerOnly: false);
        return c;
    }

    /// <summary>AᵀA [n, n] of a matrix [k, n].</summary>
    public static double[] Gram(double[] a, int k, int n)
    {
        var c = new double[n * n];
        Accumulate(a, a, k, n, n, c, lowerOnly: true);
        Mirror(c, n);
        return c;
    }

    /// <summary>Adds AᵀA to the lower triangle of a sum [n, n].</summary>
    public static void AddGram(double[] a, int k, int n, double[] sum) => Accumulate(a, a, k, n, n, sum, lowerOnly: true);

    /// <summary>Copies the lower triangle into the upper one.</summary>
    public static void Mirror(double[] matrix, int n)
    {
        for (var i = 0; i < n; i++)
            for (var j = 0; j < i; j++) matrix[j * n + i] = matrix[i * n + j];
    }

    private static void Accumulate(double[] a, double[] b, int k, int m, int n, double[] c, bool lowerOnly)
    {
        var tiles = (m + RowTile - 1) / RowTile;
        Parallel.For(0, tiles, tile =>
        {
            var row = tile * RowTile;
            var rows = Math.Min(RowTile, m - row);
            var columns = lowerOnly ? row + rows : n;
            fixed (double* pa = a, pb = b, pc = c)
            {
                for (var depth = 0; depth < k; depth += DepthBlock)
                    Tile(pa + (long)depth * m + row, m, pb + (long)depth * n, n, Math.Min(DepthBlock, k - depth), rows, columns, pc + (long)row * n);
            }
        });
    }

    private static void Tile(double* a, int m, double* b, int n, int depth, int rows, int columns, double* c)
    {
        var width = Vector<double>.Count;
        var j = 0;
        if (rows == RowTile)
            for (; j + VectorTile * width <= columns; j += VectorTile * width) Block(a, m, b + j, n, depth, c + j);
        for (var i = 0; i < rows; i++)
            for (var column = j; column < columns; column++)
            {
                var sum = c[i * (long)n + column];
                for (var d = 0; d < depth; d++) sum = Math.FusedMultiplyAdd(a[(long)d * m + i], b[(long)d * n + column], sum);
                c[i * (long)n + column] = sum;
            }
    }

    /// <summary>4 rows by 3 vectors in registers: one chain of multiply-adds over ascending depth per element.</summary>
    private static void Block(double* a, int m, double* b, int n, int depth, double* c)
    {
        var width = Vector<double>.Count;
        double* c1 = c + n, c2 = c1 + n, c3 = c2 + n;
        Vector<double> s00 = Load(c), s01 = Load(c + width), s02 = Load(c + 2 * width);
        Vector<double> s10 = Load(c1), s11 = Load(c1 + width), s12 = Load(c1 + 2 * width);
        Vector<double> s20 = Load(c2), s21 = Load(c2 + width), s22 = Load(c2 + 2 * width);
        Vector<double> s30 = Load(c3), s31 = Load(c3 + width), s32 = Load(c3 + 2 * width);
        for (var d = 0; d < depth; d++, a += m, b += n)
        {
            Vector<double> b0 = Load(b), b1 = Load(b + width), b2 = Load(b + 2 * width);
            var x = new Vector<double>(a[0]);
            s00 = Vector.FusedMultiplyAdd(x, b0, s00);
            s01 = Vector.FusedMultiplyAdd(x, b1, s01);
            s02 = Vector.FusedMultiplyAdd(x, b2, s02);
            x = new Vector<double>(a[1]);
            s10 = Vector.FusedMultiplyAdd(x, b0, s10);
            s11 = Vector.FusedMultiplyAdd(x, b1, s11);
            s12 = Vector.FusedMultiplyAdd(x, b2, s12);
            x = new Vector<double>(a[2]);
            s20 = Vector.FusedMultiplyAdd(x, b0, s20);
            s21 = Vector.FusedMultiplyAdd(x, b1, s21);
            s22 = Vector.FusedMultiplyAdd(x, b2, s22);
            x = new Vector<double>(a[3]);
            s30 = Vector.FusedMultiplyAdd(x, b0, s30);
            s31 = Vector.FusedMultiplyAdd(x, b1, s31);
            s32 = Vector.FusedMultiplyAdd(x, b2, s32);
        }

        Store(s00, c);
        Store(s01, c + width);
        Store(s02, c + 2 * width);
        Store(s10, c1);
        Store(s11, c1 + width);
        Store(s12, c1 + 2 * width);
        Store(s20, c2);
        Store(s21, c2 + width);
        Store(s22, c2 + 2 * width);
        Store(s30, c3);
        Store(s31, c3 + width);
        Store(s32, c3 + 2 * width);
    }

    private static Vector<double> Load(double* source) => Unsafe.ReadUnaligned<Vector<double>>(source);

    private static void Store(Vector<double> value, double* target) => Unsafe.WriteUnaligned(target, value);
}
