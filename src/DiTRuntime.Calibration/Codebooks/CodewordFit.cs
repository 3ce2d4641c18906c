using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Codebooks;

/// <summary>Least squares: the codewords and row scales that make tr (W − Ŵ)H(W − Ŵ)ᵀ least for given codes.</summary>
/// <remarks>
/// The sum is quadratic in the codewords: half its gradient by codeword c is −Σ s_n ((W − Ŵ)H)_nj over the vectors (n, j) of that code. Conjugate gradients, preconditioned by the diagonal, bring it down; an
/// iteration takes one product with H. For given codewords the best scale of a row is s_n = s_n·⟨w H, ŵ⟩/⟨ŵ H, ŵ⟩.
/// </remarks>
internal sealed unsafe class CodewordFit : IDisposable
{
    /// <summary>Iterations at most.</summary>
    private const int Iterations = 12;

    /// <summary>Part of the first residual at which the iterations end.</summary>
    private const double Tolerance = 1e-3;

    /// <summary>Pieces of a sum over rows: fixed, so that the order does not depend on the threads.</summary>
    private const int Pieces = 8;

    private readonly Workers _workers;
    private readonly Matrix _weights;
    private readonly CodebookFormat _format;
    private readonly Matrix _hessian;
    private readonly int _rowVectors;
    private readonly NativeBuffer _made;
    private readonly NativeBuffer _products;

    /// <param name="workers">Who computes.</param>
    /// <param name="weights">W [N, K].</param>
    /// <param name="format">Sizes of the codebooks.</param>
    /// <param name="hessian">H [K, K].</param>
    public CodewordFit(Workers workers, Matrix weights, CodebookFormat format, Matrix hessian)
    {
        (_workers, _weights, _format, _hessian) = (workers, weights, format, hessian);
        _rowVectors = format.VectorsPerRow(weights.ColumnCount);
        _made = new NativeBuffer((long)weights.RowCount * weights.ColumnCount * sizeof(float));
        _products = new NativeBuffer((long)weights.RowCount * weights.ColumnCount * sizeof(float));
    }

    private Matrix Made => new(_made.Floats, _weights.RowCount, _weights.ColumnCount, _weights.ColumnCount);

    private Matrix Products => new(_products.Floats, _weights.RowCount, _weights.ColumnCount, _weights.ColumnCount);

    /// <summary>Makes codewords and scales better.</summary>
    /// <param name="codes">in/out; the codes stay.</param>
    public void Improve(CodebookCodes codes)
    {
        FitScales(codes);
        FitCodewords(codes);
    }

    /// <summary>(W − Ŵ)H [N, K], valid until the next call.</summary>
    public Matrix ErrorTimesHessian(CodebookCodes codes)
    {
        Expand(codes, Array.ConvertAll(codes.Vectors, value => (double)value));
        for (var row = 0; row < _weights.RowCount; row++)
            for (var k = 0; k < _weights.ColumnCount; k++) Made.Row(row)[k] = _weights.Row(row)[k] - Made.Row(row)[k];
        return MultiplyByHessian();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _made.Dispose();
        _products.Dispose();
    }

    private void FitCodewords(CodebookCodes codes)
    {
        ErrorTimesHessian(codes);
        var residual = Gather(codes);
        var diagonal = Diagonal(codes);
        double[] Precondition(double[] values) => [.. values.Zip(diagonal, (value, mass) => mass > 0 ? value / mass : 0)];
        var solution = Array.ConvertAll(codes.Vectors, value => (double)value);
        var direction = Precondition(residual);
        var norm = Dot(residual, direction);
        var end = Tolerance * Tolerance * norm;
        for (var i = 0; i < Iterations && norm > end; i++)
        {
            Expand(codes, direction);
            MultiplyByHessian();
            var image = Gather(codes);
            var curvature = Dot(direction, image);
            if (!(curvature > 0)) break;
            var step = norm / curvature;
            for (var c = 0; c < solution.Length; c++)
            {
                solution[c] += step * direction[c];
                residual[c] -= step * image[c];
            }

            var next = Precondition(residual);
            var nextNorm = Dot(residual, next);
            for (var c = 0; c < direction.Length; c++) direction[c] = next[c] + nextNorm / norm * direction[c];
            norm = nextNorm;
        }

        CodebookQuantizer.RoundToHalf(Array.ConvertAll(solution, value => (float)value), codes.Vectors);
    }

    private void FitScales(CodebookCodes codes)
    {
        if (codes.RowScales is null) return;
        Expand(codes, Array.ConvertAll(codes.Vectors, value => (double)value));
        MultiplyByHessian();
        _workers.For(_weights.RowCount, row =>
        {
            var (cross, square) = (0.0, 0.0);
            float* w = _weights.Row(row), made = Made.Row(row), product = Products.Row(row);
            for (var k = 0; k < _weights.ColumnCount; k++)
            {
                cross += (double)w[k] * product[k];
                square += (double)made[k] * product[k];
            }

            codes.RowScales[row] = CodebookQuantizer.RoundScale((double)codes.RowScales[row] * cross / square, codes.RowScales[row]);
        });
    }

    /// <summary>Ŵ of some codewords.</summary>
    private void Expand(CodebookCodes codes, double[] codewords) => _workers.For(_weights.RowCount, row =>
    {
        var (d, scale) = (_format.VectorLength, ScaleOf(codes, row));
        var to = Made.Row(row);
        for (var j = 0; j < _rowVectors; j++)
        {
            var from = CodewordOf(codes, row, j) * d;
            for (var i = 0; i < d; i++) *to++ = (float)(scale * codewords[from + i]);
        }
    });

    private Matrix MultiplyByHessian()
    {
        var products = Products;
        MatrixProduct.Run(_workers, Made, _hessian, (float* sums, int stride, in Tile tile) =>
        {
            for (var r = 0; r < tile.RowCount; r++)
                new ReadOnlySpan<float>(sums + r * stride, tile.ColumnCount).CopyTo(new Span<float>(products.Row(tile.Row + r) + tile.Column, tile.ColumnCount));
        });
        return products;
    }

    /// <summary>Σ s_n (Made·H)_nj over the vectors of each codeword.</summary>
    private double[] Gather(CodebookCodes codes) => Sum(codes, (row, k) => Products.Row(row)[k] * ScaleOf(codes, row));

    /// <summary>Σ s_n² H_kk over the vectors of each codeword.</summary>
    private double[] Diagonal(CodebookCodes codes) => Sum(codes, (row, k) => _hessian.Row(k)[k] * ScaleOf(codes, row) * ScaleOf(codes, row));

    /// <summary>Sums over the vectors of each codeword: by books where each position has its own, else over pieces of the rows, one after the other.</summary>
    private double[] Sum(CodebookCodes codes, Func<int, int, double> value)
    {
        var (d, rowCount) = (_format.VectorLength, _weights.RowCount);
        if (_format.IsProduct)
        {
            var sums = new double[codes.Vectors.Length];
            _workers.For(_rowVectors, j => Add(sums, 0, rowCount, j, j + 1));
            return sums;
        }

        var pieces = new double[Pieces][];
        _workers.For(Pieces, piece =>
        {
            pieces[piece] = new double[codes.Vectors.Length];
            Add(pieces[piece], piece * rowCount / Pieces, (piece + 1) * rowCount / Pieces, 0, _rowVectors);
        });
        for (var piece = 1; piece < Pieces; piece++)
            for (var c = 0; c < pieces[0].Length; c++) pieces[0][c] += pieces[piece][c];
        return pieces[0];

        void Add(double[] sums, int firstRow, int endRow, int firstPosition, int endPosition)
        {
            for (var row = firstRow; row < endRow; row++)
            {
                for (var j = firstPosition; j < endPosition; j++)
                {
                    var to = CodewordOf(codes, row, j) * d;
                    for (var i = 0; i < d; i++) sums[to + i] += value(row, j * d + i);
                }
            }
        }
    }

    private int CodewordOf(CodebookCodes codes, int row, int position) =>
        (_format.IsProduct ? position : row / (_weights.RowCount / _format.Parts)) * _format.CodebookSize + codes.Codes[row * _rowVectors + position];

    private static double ScaleOf(CodebookCodes codes, int row) => codes.RowScales is { } scales ? (double)scales[row] : 1;

    private static double Dot(double[] a, double[] b)
    {
        double sum = 0;
        for (var i = 0; i < a.Length; i++) sum += a[i] * b[i];
        return sum;
    }
}
