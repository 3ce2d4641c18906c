using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>Eigenvalues and eigenvectors of a real symmetric matrix, in double precision: A = V diag(λ) Vᵀ.</summary>
/// <remarks>
/// Householder reduction to a tridiagonal matrix, then QL with implicit shifts (Golub and Van Loan, Matrix Computations,
/// sections 8.3.1 and 8.3.3). The rotations of a sweep are applied strip by strip, so that threads share the work and a strip
/// stays in the second cache; each element sees the same operations in the same order at any thread count.
/// </remarks>
public sealed class SymmetricEigen
{
    /// <summary>Columns of a strip: 2048 rows of it are 1 MB.</summary>
    private const int StripColumns = 64;

    /// <summary>Rows of Q that are made together: 8 of 2048 are 128 KB.</summary>
    private const int RowsTogether = 8;

    /// <summary>Sweeps per eigenvalue before giving up; two or three are usual.</summary>
    private const int MaxSweeps = 60;

    /// <summary>Below this order the work of a step is too small to be shared.</summary>
    private const int SharedOrder = 256;

    private readonly int _order;
    private readonly double[] _values;
    private readonly double[] _subdiagonal;

    /// <summary>Row j is the eigenvector of λⱼ; while reducing, the matrix itself and then the Householder vectors.</summary>
    private readonly double[] _rows;

    private readonly bool _wantsVectors;

    private SymmetricEigen(ReadOnlySpan<double> matrix, int order, bool vectors)
    {
        if (order < 1 || matrix.Length != (long)order * order) throw new ArgumentException($"{matrix.Length} values for a matrix of order {order}", nameof(matrix));
        foreach (var value in matrix)
            if (!double.IsFinite(value)) throw new ArgumentException("the matrix holds a value that is not finite", nameof(matrix));
        _order = order;
        _wantsVectors = vectors;
        _rows = matrix.ToArray();
        _values = new double[order];
        _subdiagonal = new double[order];
        Reduce();
        Iterate();
    }

    /// <summary>λ, in no particular order.</summary>
    public ReadOnlySpan<double> Values => _values;

    /// <summary>Row j [n] is the unit eigenvector of λⱼ; empty when only the eigenvalues were asked for.</summary>
    public ReadOnlySpan<double> Vectors => _wantsVectors ? _rows : [];

    /// <summary>Decomposes a matrix.</summary>
    /// <param name="matrix">[n, n]; only the lower triangle is read.</param>
    /// <param name="order">n.</param>
    /// <exception cref="ArgumentException">A value is not finite.</exception>
    public static SymmetricEigen Decompose(ReadOnlySpan<double> matrix, int order) => new(matrix, order, vectors: true);

    /// <summary>The eigenvalues alone, in a third of the time.</summary>
    /// <inheritdoc cref="Decompose"/>
    public static double[] ValuesOf(ReadOnlySpan<double> matrix, int order) => new SymmetricEigen(matrix, order, vectors: false)._values;

    /// <summary>The square root R of a positive semidefinite matrix: symmetric, positive semidefinite, R R = A.</summary>
    /// <remarks>Eigenvalues that rounding has made negative count as 0.</remarks>
    /// <param name="matrix">[n, n]; only the lower triangle is read.</param>
    /// <param name="order">n.</param>
    /// <exception cref="ArgumentException">A value is not finite.</exception>
    public static double[] SquareRoot(ReadOnlySpan<double> matrix, int order)
    {
        var eigen = Decompose(matrix, order);
        // R = Σ √λ v vᵀ = (λ^¼ v)ᵀ(λ^¼ v), a product of a matrix with itself.
        for (var j = 0; j < order; j++)
        {
            var factor = Math.Sqrt(Math.Sqrt(Math.Max(eigen._values[j], 0)));
            foreach (ref var element in eigen._rows.AsSpan(j * order, order)) element *= factor;
        }

        return DoubleProduct.Gram(eigen._rows, order, order);
    }

    /// <summary>A ← QᵀAQ tridiagonal; leaves the diagonal in _values, what stands left of it in _subdiagonal, Qᵀ in _rows.</summary>
    private void Reduce()
    {
        var n = _order;
        DoubleProduct.Mirror(_rows, n);
        var (scales, work) = (new double[n], new double[n]);
        for (var i = n - 1; i > 0; i--)
        {
            // The vector that reflects row i's first i elements onto the last of them.
            var v = _rows.AsSpan(i * n, i);
            var tail = TensorPrimitives.SumOfSquares<double>(v[..(i - 1)]);
            if (tail == 0)
            {
                _subdiagonal[i] = v[i - 1];
                continue;
            }

            var length = Math.Sqrt(tail + v[i - 1] * v[i - 1]);
            if (v[i - 1] > 0) length = -length;
            _subdiagonal[i] = length;
            v[i - 1] -= length;
            // H = 1 − v vᵀ/h with h = |v|²/2.
            var h = (tail + v[i - 1] * v[i - 1]) / 2;
            scales[i] = h;
            UpdateRest(i, h, work);
        }

        for (var i = 0; i < n; i++) _values[i] = _rows[(long)i * n + i];
        if (_wantsVectors) Accumulate(scales);
    }

    /// <summary>A ← H A H on the leading i×i part, kept whole (both triangles) so that every access runs along rows.</summary>
    private void UpdateRest(int i, double h, double[] p)
    {
        var (n, rows) = (_order, _rows);
        Share(i, j => p[j] = TensorPrimitives.Dot<double>(rows.AsSpan(j * n, i), rows.AsSpan(i * n, i)) / h);
        var v = rows.AsSpan(i * n, i);
        TensorPrimitives.MultiplyAdd<double>(v, -TensorPrimitives.Dot<double>(p.AsSpan(0, i), v) / (2 * h), p.AsSpan(0, i), p.AsSpan(0, i));
        Share(i, j =>
        {
            var row = rows.AsSpan(j * n, i);
            TensorPrimitives.MultiplyAdd<double>(p.AsSpan(0, i), -rows[i * n + j], row, row);
            TensorPrimitives.MultiplyAdd<double>(rows.AsSpan(i * n, i), -p[j], row, row);
        });
    }

    /// <summary>Puts Qᵀ, Q = H[n−1] … H[1], in the place of the reflectors; that of row i stands in its first i elements.</summary>
    private void Accumulate(double[] scales)
    {
        // A row of Q is a unit vector taken through the reflections. Some rows go together, so that a reflector is read once for all of them.
        var n = _order;
        var q = new double[n * n];
        Share((n + RowsTogether - 1) / RowsTogether, group =>
        {
            var (first, end) = (group * RowsTogether, Math.Min(n, (group + 1) * RowsTogether));
            for (var r = first; r < end; r++) q[r * n + r] = 1;
            for (var i = n - 1; i > 0; i--)
            {
                if (scales[i] == 0) continue;
                var v = _rows.AsSpan(i * n, i);
                for (var r = first; r < end; r++)
                {
                    var row = q.AsSpan(r * n, i);
                    TensorPrimitives.MultiplyAdd<double>(v, -TensorPrimitives.Dot<double>(row, v) / scales[i], row, row);
                }
            }
        });
        for (var r = 0; r < n; r++)
            for (var c = 0; c < n; c++) _rows[c * n + r] = q[r * n + c];
    }

    private void Iterate()
    {
        var n = _order;
        var (d, e) = (_values, _subdiagonal);
        // e[i] couples i and i + 1 from here on.
        Array.Copy(e, 1, e, 0, n - 1);
        e[n - 1] = 0;
        var (cosines, sines) = (new double[n], new double[n]);
        // The reduction is exact to a rounding of the largest element; what is far below it is no information.
        var floor = 1e-19 * Math.Max(Math.Abs(TensorPrimitives.MaxMagnitude<double>(d)), Math.Abs(TensorPrimitives.MaxMagnitude<double>(e)));
        for (var l = 0; l < n; l++)
        {
            for (var sweep = 0; ; sweep++)
            {
                var m = l;
                while (m < n - 1 && Math.Abs(e[m]) > floor + 1.1e-16 * (Math.Abs(d[m]) + Math.Abs(d[m + 1]))) m++;
                if (m == l) break;
                if (sweep == MaxSweeps) throw new InvalidOperationException($"eigenvalue {l} of {n} does not converge");
                Sweep(l, m, cosines, sines);
                if (_wantsVectors) Rotate(l, m, cosines, sines);
            }
        }
    }

    /// <summary>One implicit QL sweep over l … m; leaves its rotations.</summary>
    private void Sweep(int l, int m, double[] cosines, double[] sines)
    {
        var (d, e) = (_values, _subdiagonal);
        // Wilkinson's shift: the eigenvalue of the leading 2×2 part that is nearer to d[l].
        var g = (d[l + 1] - d[l]) / (2 * e[l]);
        var r = Hypotenuse(g, 1);
        g = d[m] - d[l] + e[l] / (g + Math.CopySign(r, g));
        double s = 1, c = 1, p = 0;
        var i = m - 1;
        for (; i >= l; i--)
        {
            var f = s * e[i];
            var b = c * e[i];
            r = Hypotenuse(f, g);
            e[i + 1] = r;
            if (r == 0)
            {
                // The matrix has split here; what is left of the sweep does nothing.
                d[i + 1] -= p;
                e[m] = 0;
                for (; i >= l; i--) (cosines[i], sines[i]) = (1, 0);
                return;
            }

            s = f / r;
            c = g / r;
            g = d[i + 1] - p;
            r = (d[i] - g) * s + 2 * c * b;
            p = s * r;
            d[i + 1] = g + p;
            g = c * r - b;
            (cosines[i], sines[i]) = (c, s);
        }

        d[l] -= p;
        e[l] = g;
        e[m] = 0;
    }

    private void Rotate(int l, int m, double[] cosines, double[] sines)
    {
        var n = _order;
        var strips = (n + StripColumns - 1) / StripColumns;
        Share(strips, strip =>
        {
            var (first, width) = (strip * StripColumns, Math.Min(StripColumns, n - strip * StripColumns));
            for (var i = m - 1; i >= l; i--)
                RotatePair(_rows.AsSpan(i * n + first, width), _rows.AsSpan((i + 1) * n + first, width), cosines[i], sines[i]);
        });
    }

    private void Share(int count, Action<int> work)
    {
        if (_order < SharedOrder)
            for (var i = 0; i < count; i++) work(i);
        else
            Parallel.For(0, count, work);
    }

    private static double Hypotenuse(double a, double b)
    {
        (a, b) = (Math.Abs(a), Math.Abs(b));
        if (a < b) (a, b) = (b, a);
        return a == 0 ? 0 : a * Math.Sqrt(1 + b / a * (b / a));
    }

    private static void RotatePair(Span<double> lower, Span<double> upper, double c, double s)
    {
        var x = MemoryMarshal.Cast<double, Vector<double>>(lower);
        var y = MemoryMarshal.Cast<double, Vector<double>>(upper);
        for (var i = 0; i < x.Length; i++)
        {
            var f = y[i];
            y[i] = s * x[i] + c * f;
            x[i] = c * x[i] - s * f;
        }

        for (var i = x.Length * Vector<double>.Count; i < lower.Length; i++)
        {
            var f = upper[i];
            upper[i] = s * lower[i] + c * f;
            lower[i] = c * lower[i] - s * f;
        }
    }
}
