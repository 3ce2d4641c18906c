using System.Runtime.Intrinsics;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Numerics;

namespace DiTRuntime.Calibration.Codebooks;

/// <summary>
/// Fits a codebook layer to its outputs, not to its weights: everything here lowers Σₙ (wₙ − ŵₙ) H (wₙ − ŵₙ)ᵀ with H the second moment of the layer's inputs
/// (DPQ, Shao et al. 2024, assignments against the output features; the rule of descent is ours).
/// </summary>
/// <remarks>
/// A step of coordinate descent replaces the codeword of one place j by the best one while all others stand: with e = w − ŵ and δ = ŵⱼ − s·c the error changes by
/// 2 δ·(eH)ⱼ + δ Hⱼⱼ δᵀ. Columns are taken in blocks; eH of a block is one matrix product, and within it every step corrects what comes after it.
/// </remarks>
internal sealed unsafe class AssignmentUpdate : IDisposable
{
    /// <summary>Columns whose share of eH is computed in one product.</summary>
    private const int BlockColumns = 128;

    /// <summary>Codewords that are compared at a time.</summary>
    private const int Lanes = 8;

    /// <summary>A change must lower a row's error by more than rounding may have made up, as a part of the terms it is the difference of.</summary>
    private const float Margin = 1e-5f;

    private readonly Workers _workers;
    private readonly Matrix _weights;
    private readonly Matrix _hessian;
    private readonly NativeBuffer _errors;
    private readonly NativeBuffer _products;

    /// <param name="workers">Who computes.</param>
    /// <param name="weights">W [N, K]; read only.</param>
    /// <param name="hessian">H [K, K], symmetric and positive definite; read only.</param>
    public AssignmentUpdate(Workers workers, Matrix weights, Matrix hessian)
    {
        (_workers, _weights, _hessian) = (workers, weights, hessian);
        var bytes = (long)weights.RowCount * weights.ColumnCount * sizeof(float);
        _errors = new NativeBuffer(bytes);
        _products = new NativeBuffer(bytes);
    }

    /// <summary>Whole matrices of the size of W, for work in between.</summary>
    private Matrix Errors => new(_errors.Floats, _weights.RowCount, _weights.ColumnCount, _weights.ColumnCount);

    private Matrix Products => new(_products.Floats, _weights.RowCount, _weights.ColumnCount, _weights.ColumnCount);

    /// <summary>Σₙ (wₙ − ŵₙ) H (wₙ − ŵₙ)ᵀ.</summary>
    public double Objective(CodebookLayer layer)
    {
        TakeErrors(layer);
        return MatrixProduct.QuadraticForm(_workers, Errors, _hessian);
    }

    /// <summary>Visits every place once, and gives it the best codeword of its codebook.</summary>
    /// <returns>Codes that have changed.</returns>
    public long Sweep(CodebookLayer layer)
    {
        TakeErrors(layer);
        var changes = new long[layer.Outputs];
        var blockPositions = Math.Max(1, BlockColumns / layer.VectorLength);
        for (var first = 0; first < layer.VectorsPerRow; first += blockPositions)
        {
            var positions = Math.Min(blockPositions, layer.VectorsPerRow - first);
            var (from, width) = (first * layer.VectorLength, positions * layer.VectorLength);
            var target = Products.Columns(from, width);
            MatrixProduct.Store(_workers, Errors, _hessian.Columns(from, width), target);
            var books = new BlockBooks(layer, _hessian, first, positions);
            layer.ForRows(_workers, row => changes[row] += SweepRow(layer, books, row, target.Row(row)));
        }

        return changes.Sum();
    }

    /// <summary>The best vectors for the codes as they stand: least squares by conjugate gradients.</summary>
    /// <param name="layer">The layer; stays as it is where rounding leaves nothing to gain.</param>
    /// <param name="iterations">Steps; each is one product of W's size with H.</param>
    public void SolveVectors(CodebookLayer layer, int iterations)
    {
        var before = Objective(layer);
        var original = layer.Vectors.ToArray();
        var (residual, direction, image) = (new double[original.Length], new double[original.Length], new double[original.Length]);
        var diagonal = Diagonal(layer);
        MatrixProduct.Store(_workers, Errors, _hessian, Products);
        layer.SumByVector(_workers, Products, residual);
        var single = new float[original.Length];
        double size = 0;
        for (var step = 0; step < iterations; step++)
        {
            var last = size;
            size = 0;
            for (var i = 0; i < residual.Length; i++) size += residual[i] * residual[i] / diagonal[i];
            if (!(size > 0)) break;
            for (var i = 0; i < residual.Length; i++)
            {
                direction[i] = residual[i] / diagonal[i] + (step == 0 ? 0 : size / last * direction[i]);
                single[i] = (float)direction[i];
            }

            layer.Expand(_workers, single, layer.RowScales, Errors);
            MatrixProduct.Store(_workers, Errors, _hessian, Products);
            layer.SumByVector(_workers, Products, image);
            double curvature = 0;
            for (var i = 0; i < image.Length; i++) curvature += single[i] * image[i];
            if (!(curvature > 0)) break;
            var length = size / curvature;
            for (var i = 0; i < image.Length; i++)
            {
                layer.Vectors[i] += (float)(length * direction[i]);
                residual[i] -= length * image[i];
            }
        }

        if (!(Objective(layer) <= before)) original.CopyTo(layer.Vectors, 0);
    }

    /// <summary>The best scale of every row for its codes and vectors: s = w H ŵᵀ / ŵ H ŵᵀ with ŵ before scaling.</summary>
    public void SolveRowScales(CodebookLayer layer)
    {
        if (!layer.Format.HasRowScales) return;
        layer.Expand(_workers, layer.Vectors, [], Errors);
        MatrixProduct.Store(_workers, Errors, _hessian, Products);
        layer.ForRows(_workers, row =>
        {
            double across = 0, along = 0;
            for (var i = 0; i < layer.Inputs; i++)
            {
                across += (double)_weights.Row(row)[i] * Products.Row(row)[i];
                along += (double)Errors.Row(row)[i] * Products.Row(row)[i];
            }

            // A negative scale would be the best of a bad row; the format has positive ones.
            if (across > 0 && along > 0) layer.RowScales[row] = (float)(across / along);
        });
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _errors.Dispose();
        _products.Dispose();
    }

    private void TakeErrors(CodebookLayer layer)
    {
        layer.Expand(_workers, Errors);
        layer.ForRows(_workers, row =>
        {
            var w = _weights.Row(row);
            var e = Errors.Row(row);
            for (var i = 0; i < layer.Inputs; i++) e[i] = w[i] - e[i];
        });
    }

    /// <summary>Σ s² H_ii over the places of each vector: the diagonal of the least-squares problem, and never zero.</summary>
    private double[] Diagonal(CodebookLayer layer)
    {
        layer.ForRows(_workers, row =>
        {
            for (var i = 0; i < layer.Inputs; i++) Products.Row(row)[i] = layer.RowScales[row] * _hessian.Row(i)[i];
        });
        var diagonal = new double[layer.Vectors.Length];
        layer.SumByVector(_workers, Products, diagonal);
        for (var i = 0; i < diagonal.Length; i++)
            if (!(diagonal[i] > 0)) diagonal[i] = 1;
        return diagonal;
    }

    /// <param name="layer">The layer.</param>
    /// <param name="books">Codebooks of the block's places.</param>
    /// <param name="row">n.</param>
    /// <param name="products">in/out (eH) of the block's columns.</param>
    /// <returns>Codes that have changed.</returns>
    private long SweepRow(CodebookLayer layer, BlockBooks books, int row, float* products)
    {
        var d = layer.VectorLength;
        var width = books.Positions * d;
        var scale = layer.RowScales[row];
        var errors = Errors.Row(row) + (nint)books.First * d;
        var target = stackalloc float[d];
        var change = stackalloc float[d];
        var changes = 0;
        for (var p = 0; p < books.Positions; p++)
        {
            ref var code = ref layer.Codes[row * layer.VectorsPerRow + books.First + p];
            var book = books[p, row];
            for (var i = 0; i < d; i++) target[i] = 2 * (products[p * d + i] + scale * book.Image(code, i)) / scale;
            var (best, cost) = book.Cheapest(target);
            var present = book.Cost(code, target);
            if (best == code || !(cost < present - Margin * Math.Abs(present))) continue;
            for (var i = 0; i < d; i++)
            {
                change[i] = scale * (book.Value(code, i) - book.Value(best, i));
                errors[p * d + i] += change[i];
            }

            code = (ushort)best;
            changes++;
            for (var i = 0; i < d; i++)
            {
                var h = _hessian.Row((books.First + p) * d + i) + (nint)books.First * d;
                for (var column = (p + 1) * d; column < width; column++) products[column] += change[i] * h[column];
            }
        }

        return changes;
    }

    /// <summary>The codebooks of a block's places, each beside what its place's part of H makes of it.</summary>
    private sealed class BlockBooks
    {
        private readonly PlaceBook[] _books;
        private readonly int _parts;
        private readonly int _rowsPerPart;

        public BlockBooks(CodebookLayer layer, Matrix hessian, int first, int positions)
        {
            (First, Positions) = (first, positions);
            _parts = layer.Format.IsProduct ? 1 : layer.Format.Parts;
            _rowsPerPart = layer.Outputs / _parts;
            _books = new PlaceBook[positions * _parts];
            for (var p = 0; p < positions; p++)
                for (var part = 0; part < _parts; part++)
                    _books[p * _parts + part] = new PlaceBook(layer, layer.BookOf(part * _rowsPerPart, first + p), hessian, (first + p) * layer.VectorLength);
        }

        public int First { get; }

        public int Positions { get; }

        public PlaceBook this[int position, int row] => _books[position * _parts + row / _rowsPerPart];
    }

    /// <summary>A codebook in one place: cost(c) = c Hⱼⱼ cᵀ − c·t, up to what no choice of c changes.</summary>
    private sealed class PlaceBook
    {
        private readonly int _length;
        private readonly int _stride;
        private readonly float[] _values;
        private readonly float[] _images;
        private readonly float[] _squares;

        public PlaceBook(CodebookLayer layer, int book, Matrix hessian, int column)
        {
            var k = layer.Format.CodebookSize;
            _length = layer.VectorLength;
            _stride = (k + Lanes - 1) / Lanes * Lanes;
            (_values, _images, _squares) = (new float[_length * _stride], new float[_length * _stride], new float[_stride]);
            Array.Fill(_squares, float.PositiveInfinity);
            for (var c = 0; c < k; c++)
            {
                var vector = layer.Vectors.AsSpan(layer.Table[book * k + c] * _length, _length);
                float square = 0;
                for (var i = 0; i < _length; i++)
                {
                    float image = 0;
                    for (var l = 0; l < _length; l++) image += hessian.Row(column + i)[column + l] * vector[l];
                    _values[i * _stride + c] = vector[i];
                    _images[i * _stride + c] = image;
                    square += image * vector[i];
                }

                _squares[c] = square;
            }
        }

        public float Value(int code, int i) => _values[i * _stride + code];

        public float Image(int code, int i) => _images[i * _stride + code];

        public float Cost(int code, float* target)
        {
            var cost = _squares[code];
            for (var i = 0; i < _length; i++) cost = MathF.FusedMultiplyAdd(-target[i], Value(code, i), cost);
            return cost;
        }

        /// <summary>The cheapest codeword, the first of equals.</summary>
        public (int Code, float Cost) Cheapest(float* target)
        {
            fixed (float* values = _values, squares = _squares)
            {
                var costs = Vector256.Create(float.PositiveInfinity);
                var codes = Vector256<int>.Zero;
                var numbers = Vector256.Create(0, 1, 2, 3, 4, 5, 6, 7);
                for (var c = 0; c < _stride; c += Lanes, numbers += Vector256.Create(Lanes))
                {
                    var cost = Vector256.Load(squares + c);
                    for (var i = 0; i < _length; i++) cost = Vector256.FusedMultiplyAdd(Vector256.Create(-target[i]), Vector256.Load(values + (nint)i * _stride + c), cost);
                    var less = Vector256.LessThan(cost, costs);
                    costs = Vector256.ConditionalSelect(less, cost, costs);
                    codes = Vector256.ConditionalSelect(less.AsInt32(), numbers, codes);
                }

                var best = (Code: codes[0], Cost: costs[0]);
                for (var lane = 1; lane < Lanes; lane++)
                    if (costs[lane] < best.Cost || (costs[lane] == best.Cost && codes[lane] < best.Code)) best = (codes[lane], costs[lane]);
                return best;
            }
        }
    }
}
