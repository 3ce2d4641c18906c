using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Numerics;

namespace DiTRuntime.Calibration.Dpq;

/// <summary>
/// What a layer should be so that it makes the teacher's outputs W x of the student's inputs x̂: the least-squares answer W E[x x̂ᵀ] (E[x̂ x̂ᵀ] + λI)⁻¹, taken as a change of W. What codes are chosen for
/// then makes up, as far as a linear layer can, for the errors of the layers before it.
/// </summary>
internal sealed unsafe class OutputTarget : IDisposable
{
    /// <summary>λ as a part of the mean of E[x̂ x̂ᵀ]'s diagonal; the sums of few samples are not trusted as far as for rounding.</summary>
    private const double DampingRatio = 0.05;

    /// <summary>Inputs that are summed in fp32.</summary>
    private const int ChunkRows = 512;

    private readonly Workers _workers;
    private readonly NativeBuffer _sums;
    private readonly NativeBuffer _transposed;
    private readonly double[] _studentSums, _teacherSums;

    /// <param name="workers">Who computes.</param>
    /// <param name="size">K.</param>
    public OutputTarget(Workers workers, int size)
    {
        _workers = workers;
        Inputs = new Hessian(workers, size);
        _sums = new NativeBuffer((long)size * size * sizeof(double));
        _transposed = new NativeBuffer((long)size * ChunkRows * sizeof(float));
        (_studentSums, _teacherSums) = (new double[size], new double[size]);
    }

    /// <summary>2/n Σ x̂ x̂ᵀ.</summary>
    public Hessian Inputs { get; }

    private int Size => Inputs.Size;

    /// <summary>Adds what both read at the same places.</summary>
    /// <param name="teacher">x [n, K].</param>
    /// <param name="student">x̂ [n, K].</param>
    public void Add(ReadOnlySpan<float> teacher, ReadOnlySpan<float> student)
    {
        Inputs.Add(student);
        fixed (float* t = teacher, s = student)
        {
            var rowCount = student.Length / Size;
            var (all, inputs) = (new Matrix(t, rowCount, Size, Size), new Matrix(s, rowCount, Size, Size));
            for (var row = 0; row < rowCount; row += ChunkRows) AddChunk(all.Rows(row, Math.Min(ChunkRows, rowCount - row)), inputs.Rows(row, Math.Min(ChunkRows, rowCount - row)));
        }
    }

    /// <summary>Changes W to what makes its outputs of the student's inputs.</summary>
    /// <param name="weights">in/out W [N, K].</param>
    public void Correct(Matrix weights)
    {
        using var factor = InverseFactor.Of(_workers, Inputs, DampingRatio);
        var bytes = (long)Size * Size * sizeof(float);
        using NativeBuffer moments = new(bytes), transposed = new(bytes);
        using NativeBuffer first = new((long)weights.RowCount * Size * sizeof(float)), second = new((long)weights.RowCount * Size * sizeof(float));
        var (d, factorTransposed) = (new Matrix(moments.Floats, Size, Size, Size), new Matrix(transposed.Floats, Size, Size, Size));
        var (w, product) = (new Matrix(first.Floats, weights.RowCount, Size, Size), new Matrix(second.Floats, weights.RowCount, Size, Size));
        var scale = 2.0 / Inputs.Count;
        _workers.For(Size, i =>
        {
            for (var j = 0; j < Size; j++)
            {
                d.Row(i)[j] = (float)(scale * Sums(i)[j]);
                factorTransposed.Row(i)[j] = factor.Values.Row(j)[i];
            }
        });
        // UᵀU is the inverse.
        MatrixProduct.Store(_workers, weights, d, product);
        MatrixProduct.Store(_workers, product, factorTransposed, w);
        MatrixProduct.Store(_workers, w, factor.Values, product);
        _workers.For(weights.RowCount, row =>
        {
            for (var i = 0; i < Size; i++) weights.Row(row)[i] += product.Row(row)[i];
        });
    }

    /// <summary>Changes a bias to what makes the mean of the outputs that of the teacher: b += W E[x] − Ŵ E[x̂].</summary>
    /// <param name="bias">in/out b [N], of W.</param>
    /// <param name="weights">W [N, K], the teacher's.</param>
    /// <param name="quantized">Ŵ [N, K].</param>
    public void CorrectBias(float[] bias, Matrix weights, Matrix quantized) => _workers.For(bias.Length, row =>
    {
        double sum = 0;
        for (var i = 0; i < Size; i++) sum += weights.Row(row)[i] * _teacherSums[i] - quantized.Row(row)[i] * _studentSums[i];
        bias[row] += (float)(sum / Inputs.Count);
    });

    /// <inheritdoc/>
    public void Dispose()
    {
        Inputs.Dispose();
        _sums.Dispose();
        _transposed.Dispose();
    }

    /// <summary>Row i of Σ (x − x̂) x̂ᵀ.</summary>
    private double* Sums(int i) => (double*)_sums.Start + (nint)i * Size;

    private void AddChunk(Matrix teacher, Matrix student)
    {
        const int band = 16;
        var differences = new Matrix(_transposed.Floats, Size, student.RowCount, ChunkRows);
        _workers.For((Size + band - 1) / band, task =>
        {
            var end = Math.Min(Size, (task + 1) * band);
            for (var r = 0; r < student.RowCount; r++)
            {
                for (var k = task * band; k < end; k++)
                {
                    differences.Row(k)[r] = teacher.Row(r)[k] - student.Row(r)[k];
                    _teacherSums[k] += teacher.Row(r)[k];
                    _studentSums[k] += student.Row(r)[k];
                }
            }
        });
        MatrixProduct.Run(_workers, differences, student, (float* sums, int stride, in Tile tile) =>
        {
            for (var r = 0; r < tile.RowCount; r++)
            {
                var row = Sums(tile.Row + r) + tile.Column;
                for (var c = 0; c < tile.ColumnCount; c++) row[c] += sums[r * stride + c];
            }
        });
    }
}
