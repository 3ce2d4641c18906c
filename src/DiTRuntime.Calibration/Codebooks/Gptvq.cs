using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Codebooks;

/// <summary>
/// GPTVQ (van Baalen et al. 2024): codes and codewords that make tr (W − Ŵ)H(W − Ŵ)ᵀ small, the squared error of the layer's outputs over the calibration inputs.
/// </summary>
/// <remarks>
/// <list type="number">
/// <item>k-means weighted by H's diagonal gives codewords and scales (<see cref="CodebookQuantizer"/>).</item>
/// <item>Positions are coded one after the other: with U the inverse's factor, a vector with error δ costs ‖δ U_jj⁻¹‖², and e = δ U_jj⁻¹ changes the columns after it by −e U_j: GPTQ's step for d columns
/// (section 3.1). The nearest codeword by that norm is the nearest of the codewords multiplied by U_jj⁻¹.</item>
/// <item>Scales and codewords are fitted to the codes by least squares (section 3.3), and codes are chosen anew, one position at a time with all others as they stand
/// (<see cref="AssignmentUpdate"/>). Each makes the sum less, so they take turns; codes come last.</item>
/// </list>
/// </remarks>
internal sealed unsafe class Gptvq
{
    /// <summary>Times that a fit and a choice of codes follow upon each other.</summary>
    private const int Rounds = 3;

    /// <summary>Steps of conjugate gradients of a fit.</summary>
    private const int SolveSteps = 12;

    /// <summary>Rows of a task.</summary>
    private const int TaskRows = 16;

    private readonly Workers _workers;
    private readonly Matrix _weights;
    private readonly CodebookFormat _format;
    private readonly InputStatistics _inputs;
    private readonly int _length;
    private readonly int _rowVectors;

    /// <param name="workers">Who computes.</param>
    /// <param name="weights">W [N, K].</param>
    /// <param name="format">Sizes of the codebooks.</param>
    /// <param name="inputs">H and U of the layer's inputs.</param>
    public Gptvq(Workers workers, Matrix weights, CodebookFormat format, InputStatistics inputs)
    {
        (_workers, _weights, _format, _inputs) = (workers, weights, format, inputs);
        _length = format.VectorLength;
        _rowVectors = format.VectorsPerRow(weights.ColumnCount);
    }

    private int Inputs => _weights.ColumnCount;

    /// <summary>Columns whose errors reach the columns after them in one product: whole vectors.</summary>
    private int BlockColumns => Gptq.BlockColumns / _length * _length;

    /// <summary>Quantizes the weight.</summary>
    /// <param name="start">Makes the first codewords.</param>
    public CodebookCodes Quantize(CodebookQuantizer start)
    {
        var codes = start.Quantize(_weights, _format, Importance());
        using var buffer = new NativeBuffer((long)Inputs * Inputs * sizeof(float));
        var hessian = new Matrix(buffer.Floats, Inputs, Inputs, Inputs);
        _inputs.Hessian.CopyTo(buffer.Floats);
        for (var i = 0; i < Inputs; i++) hessian.Row(i)[i] += (float)_inputs.Factor.Damping;
        Propagate(codes);
        var layer = CodebookLayer.From(codes, _weights.RowCount, Inputs, _format);
        using var update = new AssignmentUpdate(_workers, _weights, hessian);
        for (var round = 0; round < Rounds; round++)
        {
            update.SolveRowScales(layer);
            update.SolveVectors(layer, SolveSteps);
            layer.Round();
            update.Sweep(layer);
        }

        return layer.ToCodes();
    }

    /// <summary>H's diagonal, of mean 1.</summary>
    private float[] Importance()
    {
        var diagonal = new double[Inputs];
        for (var i = 0; i < Inputs; i++) diagonal[i] = _inputs.Hessian[i, i] + _inputs.Factor.Damping;
        var mean = diagonal.Average();
        return Array.ConvertAll(diagonal, value => (float)(value / mean));
    }

    /// <summary>Codes all positions, first to last, each making up for those before it.</summary>
    private void Propagate(CodebookCodes codes)
    {
        var (rowCount, d, u) = (_weights.RowCount, _length, _inputs.Factor.Values);
        using var changed = new NativeBuffer((long)rowCount * Inputs * sizeof(float));
        var working = new Matrix(changed.Floats, rowCount, Inputs, Inputs);
        for (var row = 0; row < rowCount; row++) new ReadOnlySpan<float>(_weights.Row(row), Inputs).CopyTo(new Span<float>(working.Row(row), Inputs));
        using var errorBuffer = new NativeBuffer((long)rowCount * BlockColumns * sizeof(float));
        var errors = errorBuffer.Floats;
        var metrics = Metrics(j => SmallMatrix.InverseOfUpper(d, (a, b) => u.Row(j * d + a)[j * d + b]));
        using var books = new MetricBooks(_format, BlockColumns / d);
        var codewords = Array.ConvertAll(codes.Vectors, value => (float)value);
        for (var from = 0; from < Inputs; from += BlockColumns)
        {
            var (first, to) = (from, Math.Min(Inputs, from + BlockColumns));
            books.Fill(_workers, codewords, from / d, (to - from) / d, metrics);
            ForRows((row, x, c) =>
            {
                float* w = working.Row(row), e = errors + (nint)row * BlockColumns;
                var (scale, part) = (Scale(codes, row), PartOf(row));
                for (var k = first; k < to; k += d)
                {
                    var position = k / d;
                    for (var i = 0; i < d; i++) c[i] = w[k + i] / scale;
                    fixed (float* metric = &metrics[position * d * d]) MetricBooks.Multiply(c, metric, x, d);
                    var code = books.Nearest(position - first / d, part, x);
                    codes.Codes[row * _rowVectors + position] = (ushort)code;
                    books.Copy(position - first / d, part, code, c);
                    for (var i = 0; i < d; i++)
                    {
                        var error = (x[i] - c[i]) * scale;
                        e[k - first + i] = error;
                        Gptq.Correct(w, u.Row(k + i), -error, k + d, to);
                    }
                }
            });
            if (to < Inputs) Gptq.Propagate(_workers, new Matrix(errors, rowCount, to - from, BlockColumns), u.Rows(from, to - from).Columns(to, Inputs - to), working.Columns(to, Inputs - to));
        }
    }

    private delegate void RowTask(int row, float* x, float* scratch);

    private void ForRows(RowTask body) => _workers.For((_weights.RowCount + TaskRows - 1) / TaskRows, task =>
    {
        var x = stackalloc float[2 * CodebookFormat.MaxVectorLength];
        for (var row = task * TaskRows; row < Math.Min(_weights.RowCount, (task + 1) * TaskRows); row++) body(row, x, x + CodebookFormat.MaxVectorLength);
    });

    private float[] Metrics(Func<int, float[]> metric)
    {
        var metrics = new float[_rowVectors * _length * _length];
        for (var j = 0; j < _rowVectors; j++) metric(j).CopyTo(metrics, j * _length * _length);
        return metrics;
    }

    private int PartOf(int row) => _format.IsProduct ? 0 : row / (_weights.RowCount / _format.Parts);

    private static float Scale(CodebookCodes codes, int row) => codes.RowScales is { } scales ? (float)scales[row] : 1;
}
