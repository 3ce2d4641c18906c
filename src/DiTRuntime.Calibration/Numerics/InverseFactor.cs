using DiTRuntime.Backends.Cpu;

namespace DiTRuntime.Calibration.Numerics;

/// <summary>U, upper triangular, with UᵀU = (H + λI)⁻¹: what GPTQ (Frantar et al. 2023, section 3.3) propagates errors by.</summary>
/// <remarks>
/// With J the reversal of rows and columns, JHJ = LLᵀ gives H = (JLJ)(JLJ)ᵀ, so U = (JLJ)⁻¹ = J L⁻¹ J: one factorization and one triangular
/// inverse, where inverting H and factoring the inverse would take three times the work and lose more digits. All in fp64; both
/// parts are solutions X Lᵀ = B by rows, whose inner products run along rows in eight lanes.
/// </remarks>
internal sealed unsafe class InverseFactor : IDisposable
{
    /// <summary>Columns that are solved together.</summary>
    private const int Band = 64;

    /// <summary>Rows of a task.</summary>
    private const int TaskRows = 16;

    private readonly NativeBuffer _values;
    private readonly bool[] _isDead;

    private InverseFactor(int size, double damping, bool[] isDead)
    {
        Size = size;
        Damping = damping;
        _isDead = isDead;
        _values = new NativeBuffer((long)size * size * sizeof(float));
    }

    /// <summary>K.</summary>
    public int Size { get; }

    /// <summary>λ.</summary>
    public double Damping { get; }

    /// <summary>Whether no input touches a column, so that nothing depends on its weights.</summary>
    public bool IsDead(int column) => _isDead[column];

    /// <summary>U [K, K] in fp32; zeros below the diagonal.</summary>
    public Matrix Values => new(_values.Floats, Size, Size, Size);

    /// <summary>Factors the inverse of a Hessian. A column that no input touches (its diagonal is 0) counts as 1 there.</summary>
    /// <param name="workers">Who computes.</param>
    /// <param name="hessian">H.</param>
    /// <param name="dampingRatio">λ as a part of the mean of H's diagonal; ten times more for as long as rounding makes H + λI indefinite.</param>
    public static InverseFactor Of(Workers workers, Hessian hessian, double dampingRatio)
    {
        var size = hessian.Size;
        var isDead = new bool[size];
        double mean = 0;
        for (var i = 0; i < size; i++)
        {
            isDead[i] = hessian[i, i] == 0;
            mean += Diagonal(hessian, i) / size;
        }

        // A cache line of slack keeps neighbouring rows out of the same cache sets.
        var stride = (size + 7) / 8 * 8 + 8;
        using var lower = new NativeBuffer((long)size * stride * sizeof(double));
        var l = (double*)lower.Start;
        var damping = dampingRatio * mean;
        for (; ; damping *= 10)
        {
            Reverse(workers, hessian, damping, l, stride);
            if (Factor(workers, l, size, stride)) break;
        }

        var factor = new InverseFactor(size, damping, isDead);
        using var inverse = new NativeBuffer((long)size * stride * sizeof(double));
        Invert(workers, l, (double*)inverse.Start, size, stride);
        factor.Take(workers, (double*)inverse.Start, stride);
        return factor;
    }

    /// <inheritdoc/>
    public void Dispose() => _values.Dispose();

    private static double Diagonal(Hessian hessian, int i) => hessian[i, i] is var value && value == 0 ? 1 : value;

    /// <summary>l = J(H + λI)J, its lower triangle.</summary>
    private static void Reverse(Workers workers, Hessian hessian, double damping, double* l, nint stride)
    {
        var size = hessian.Size;
        var factor = 2.0 / hessian.Count;
        workers.For((size + TaskRows - 1) / TaskRows, task =>
        {
            var end = Math.Min(size, (task + 1) * TaskRows);
            for (var c = 0; c < end; c++)
            {
                var row = hessian.Lower(size - 1 - c);
                for (var r = Math.Max(c, task * TaskRows); r < end; r++) l[r * stride + c] = factor * row[size - 1 - r];
            }

            for (var r = task * TaskRows; r < end; r++) l[r * stride + r] = Diagonal(hessian, size - 1 - r) + damping;
        });
    }

    /// <summary>Cholesky, in place.</summary>
    /// <returns>Whether the matrix was positive definite.</returns>
    private static bool Factor(Workers workers, double* l, int size, nint stride)
    {
        for (var start = 0; start < size; start += Band)
        {
            var (from, end) = (start, Math.Min(size, start + Band));
            workers.For((size - from + TaskRows - 1) / TaskRows, task =>
            {
                var row = from + task * TaskRows;
                TriangularSolve.Subtract(l + row * stride, Math.Min(TaskRows, size - row), l + from * stride, end - from, stride, 0, from);
            });
            for (var row = from; row < end; row++)
            {
                TriangularSolve.Row(l + row * stride, l, stride, from, row);
                double rest = l[row * stride + row];
                for (var k = from; k < row; k++) rest -= l[row * stride + k] * l[row * stride + k];
                if (!(rest > 0)) return false;
                l[row * stride + row] = Math.Sqrt(rest);
            }

            workers.For((size - end + TaskRows - 1) / TaskRows, task =>
            {
                for (var row = end + task * TaskRows; row < Math.Min(size, end + (task + 1) * TaskRows); row++) TriangularSolve.Row(l + row * stride, l, stride, from, end);
            });
        }

        return true;
    }

    /// <summary>x = L⁻ᵀ, upper triangular: row j solves x Lᵀ = eⱼ.</summary>
    private static void Invert(Workers workers, double* l, double* x, int size, nint stride) => workers.For((size + TaskRows - 1) / TaskRows, task =>
    {
        var first = task * TaskRows;
        var count = Math.Min(TaskRows, size - first);
        for (var r = first; r < first + count; r++) x[r * stride + r] = 1;
        for (var from = first / Band * Band; from < size; from += Band)
        {
            var end = Math.Min(size, from + Band);
            // The rows are zero before their diagonals.
            if (from > first) TriangularSolve.Subtract(x + first * stride, count, l + from * stride, end - from, stride, first / 8 * 8, from);
            for (var r = first; r < first + count; r++) TriangularSolve.Row(x + r * stride, l, stride, from, end);
        }
    });

    /// <summary>U[i, j] = L⁻¹[K−1−i, K−1−j] = x[K−1−j, K−1−i].</summary>
    private void Take(Workers workers, double* x, nint stride) => workers.For((Size + TaskRows - 1) / TaskRows, task =>
    {
        var end = Math.Min(Size, (task + 1) * TaskRows);
        for (var j = task * TaskRows; j < Size; j++)
        {
            var row = x + (Size - 1 - j) * stride;
            for (var i = task * TaskRows; i < Math.Min(end, j + 1); i++) Values.Row(i)[j] = (float)row[Size - 1 - i];
        }
    });
}
