using DiTRuntime.Backends.Cpu;

namespace DiTRuntime.Calibration.Numerics;

/// <summary>H = (2/n) Σ x xᵀ over the inputs x of a linear layer: the curvature of its squared output error in every row of the weight.</summary>
/// <remarks>Sums of 512 inputs in fp32, these in fp64, in the order in which the inputs come: the same bits on any number of threads.</remarks>
internal sealed unsafe class Hessian : IDisposable
{
    /// <summary>Inputs that are summed in fp32.</summary>
    private const int ChunkRows = 512;

    private readonly Workers _workers;
    private readonly NativeBuffer _sums;
    private readonly NativeBuffer _transposed;
    private long _count;

    /// <param name="workers">Who computes.</param>
    /// <param name="size">K.</param>
    public Hessian(Workers workers, int size)
    {
        _workers = workers;
        Size = size;
        _sums = new NativeBuffer((long)size * size * sizeof(double));
        _transposed = new NativeBuffer((long)size * ChunkRows * sizeof(float));
    }

    /// <summary>K.</summary>
    public int Size { get; }

    /// <summary>Inputs seen.</summary>
    public long Count => _count;

    /// <summary>Adds inputs.</summary>
    /// <param name="inputs">x [n, K], row-major.</param>
    public void Add(ReadOnlySpan<float> inputs)
    {
        var rowCount = inputs.Length / Size;
        fixed (float* values = inputs)
        {
            var all = new Matrix(values, rowCount, Size, Size);
            for (var row = 0; row < rowCount; row += ChunkRows) AddChunk(all.Rows(row, Math.Min(ChunkRows, rowCount - row)));
        }

        _count += rowCount;
    }

    /// <summary>H[i, j].</summary>
    public double this[int i, int j] => 2.0 / _count * Lower(Math.Max(i, j))[Math.Min(i, j)];

    /// <summary>Row i of Σ x xᵀ, valid up to its diagonal.</summary>
    public double* Lower(int i) => (double*)_sums.Start + (nint)i * Size;

    /// <summary>All of H in fp32.</summary>
    /// <param name="values">out [K, K].</param>
    public void CopyTo(float* values) => _workers.For(Size, i =>
    {
        for (var j = 0; j <= i; j++) values[(nint)i * Size + j] = values[(nint)j * Size + i] = (float)this[i, j];
    });

    /// <inheritdoc/>
    public void Dispose()
    {
        _sums.Dispose();
        _transposed.Dispose();
    }

    private void AddChunk(Matrix inputs)
    {
        const int band = 16;
        var transposed = new Matrix(_transposed.Floats, Size, inputs.RowCount, ChunkRows);
        _workers.For((Size + band - 1) / band, task =>
        {
            var end = Math.Min(Size, (task + 1) * band);
            for (var r = 0; r < inputs.RowCount; r++)
                for (var k = task * band; k < end; k++)
                    transposed.Row(k)[r] = inputs.Row(r)[k];
        });
        MatrixProduct.Run(_workers, transposed, inputs, (float* sums, int stride, in Tile tile) =>
        {
            for (var r = 0; r < tile.RowCount; r++)
            {
                var row = Lower(tile.Row + r) + tile.Column;
                for (var c = 0; c < tile.ColumnCount; c++) row[c] += sums[r * stride + c];
            }
        }, lowerOnly: true);
    }
}
