namespace DiTRuntime.Calibration.Numerics;

/// <summary>A matrix in memory, row-major.</summary>
/// <param name="values">Element 0.</param>
/// <param name="rowCount">Rows.</param>
/// <param name="columnCount">Columns.</param>
/// <param name="stride">Values from one row to the next.</param>
internal readonly unsafe struct Matrix(float* values, int rowCount, int columnCount, nint stride)
{
    /// <summary>Rows.</summary>
    public int RowCount => rowCount;

    /// <summary>Columns.</summary>
    public int ColumnCount => columnCount;

    /// <summary>Values from one row to the next.</summary>
    public nint Stride => stride;

    /// <summary>A row.</summary>
    public float* Row(int row) => values + row * stride;

    /// <summary>Some columns of it.</summary>
    public Matrix Columns(int first, int count) => new(values + first, rowCount, count, stride);

    /// <summary>Some rows of it.</summary>
    public Matrix Rows(int first, int count) => new(Row(first), count, columnCount, stride);
}

/// <summary>Receives a tile of a product.</summary>
/// <param name="sums">in [rowCount, stride].</param>
/// <param name="stride">Values from one row of the sums to the next.</param>
/// <param name="tile">Where the tile lies in the product.</param>
internal unsafe delegate void TileSink(float* sums, int stride, in Tile tile);

/// <summary>Where a tile lies in a product.</summary>
internal readonly record struct Tile(int Row, int RowCount, int Column, int ColumnCount);

/// <summary>A·B in fp32, tile by tile: every element is one chain of fused multiply-adds over the ascending inner index.</summary>
internal static unsafe class MatrixProduct
{
    /// <summary>Rows of a tile: its sums stay in the second cache while a panel is used for all of them.</summary>
    public const int RowBlock = 192;

    /// <summary>Number of tiles of a product, for sinks that keep something for each.</summary>
    public static int TileCount(int rowCount, int columnCount) => DivideUp(rowCount, RowBlock) * DivideUp(columnCount, PanelKernel.Instance.PanelWidth);

    /// <summary>Index of a tile, below <see cref="TileCount"/>.</summary>
    public static int TileIndex(in Tile tile, int rowCount) =>
        tile.Column / PanelKernel.Instance.PanelWidth * DivideUp(rowCount, RowBlock) + tile.Row / RowBlock;

    /// <summary>Computes the tiles of A·B and hands each to a sink, on the workers' threads.</summary>
    /// <param name="workers">Who does it.</param>
    /// <param name="a">[M, K].</param>
    /// <param name="b">[K, N].</param>
    /// <param name="sink">Takes each tile once; tiles never overlap.</param>
    /// <param name="lowerOnly">Whether tiles strictly above the diagonal are left out.</param>
    public static void Run(Workers workers, Matrix a, Matrix b, TileSink sink, bool lowerOnly = false)
    {
        var kernel = PanelKernel.Instance;
        var (width, depth) = (kernel.PanelWidth, a.ColumnCount);
        var rowBlocks = DivideUp(a.RowCount, RowBlock);
        var scratchBytes = checked((depth + RowBlock) * width * sizeof(float));
        workers.For(TileCount(a.RowCount, b.ColumnCount), scratchBytes, (task, scratch) =>
        {
            var column = task / rowBlocks * width;
            var row = task % rowBlocks * RowBlock;
            var tile = new Tile(row, Math.Min(RowBlock, a.RowCount - row), column, Math.Min(width, b.ColumnCount - column));
            if (lowerOnly && tile.Row + tile.RowCount <= tile.Column) return;
            var sums = (float*)scratch;
            var panel = sums + RowBlock * width;
            for (var k = 0; k < depth; k++)
            {
                var target = new Span<float>(panel + (nint)k * width, width);
                new ReadOnlySpan<float>(b.Row(k) + column, tile.ColumnCount).CopyTo(target);
                target[tile.ColumnCount..].Clear();
            }

            kernel.Multiply(a.Row(row), a.Stride, tile.RowCount, depth, panel, sums);
            sink(sums, width, tile);
        });
    }

    /// <summary>A·B.</summary>
    /// <param name="workers">Who does it.</param>
    /// <param name="a">[M, K].</param>
    /// <param name="b">[K, N].</param>
    /// <param name="result">out [M, N]; neither of them.</param>
    public static void Store(Workers workers, Matrix a, Matrix b, Matrix result) => Run(workers, a, b, (float* sums, int stride, in Tile tile) =>
    {
        for (var r = 0; r < tile.RowCount; r++)
            new ReadOnlySpan<float>(sums + (nint)r * stride, tile.ColumnCount).CopyTo(new Span<float>(result.Row(tile.Row + r) + tile.Column, tile.ColumnCount));
    });

    /// <summary>Σ over rows of d H dᵀ: what a change D of a weight does to its outputs, where H is the inputs' second moment.</summary>
    /// <param name="workers">Who does it.</param>
    /// <param name="d">[N, K].</param>
    /// <param name="h">[K, K], symmetric.</param>
    public static double QuadraticForm(Workers workers, Matrix d, Matrix h)
    {
        var parts = new double[TileCount(d.RowCount, h.ColumnCount)];
        Run(workers, d, h, (float* sums, int stride, in Tile tile) =>
        {
            double part = 0;
            for (var r = 0; r < tile.RowCount; r++)
            {
                var row = d.Row(tile.Row + r) + tile.Column;
                for (var c = 0; c < tile.ColumnCount; c++) part += (double)row[c] * sums[r * stride + c];
            }

            parts[TileIndex(tile, d.RowCount)] = part;
        });
        return parts.Sum();
    }

    private static int DivideUp(int value, int divisor) => (value + divisor - 1) / divisor;
}
