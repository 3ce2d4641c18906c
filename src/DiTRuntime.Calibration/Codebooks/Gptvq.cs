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
/// <item>Codewords and scales are fitted to the codes by least squares (section 3.3; <see cref="CodewordFit"/>).</item>
/// <item>Codes are chosen anew, one position at a time with all others as they stand: the least (x + r H_jj⁻¹) H_jj (x + r H_jj⁻¹)ᵀ, x = w_j − s c, r the other positions' errors times H. Each choice
/// makes the sum less, so this and the fit take turns; after the last fit come codes.</item>
/// </list>
/// </remarks>
internal sealed unsafe class Gptvq
{
    /// <summary>Times that a fit and a choice of codes follow upon each other.</summary>
    private const int Rounds = 3;

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
        using var fit = new CodewordFit(_workers, _weights, _format, hessian);
        for (var round = 0; round < Rounds; round++)
        {
            fit.Improve(codes);
            ChooseAgain(codes, hessian, fit.ErrorTimesHessian(codes));
        }

        return codes;
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

    /// <summary>Chooses every code anew, with all other codes of the row as they stand.</summary>
    /// <param name="codes">in/out.</param>
    /// <param name="hessian">H.</param>
    /// <param name="products">in (W − Ŵ)H [N, K]; of no further use.</param>
    private void ChooseAgain(CodebookCodes codes, Matrix hessian, Matrix products)
    {
        var d = _length;
        var lower = new float[_rowVectors * d * d];
        var inverse = new float[_rowVectors * d * d];
        _workers.For(_rowVectors, j =>
        {
            var (factor, transposedInverse) = SmallMatrix.Factor(d, (a, b) => hessian.Row(j * d + a)[j * d + b]);
            factor.CopyTo(lower, j * d * d);
            transposedInverse.CopyTo(inverse, j * d * d);
        });
        var codewords = Array.ConvertAll(codes.Vectors, value => (float)value);
        using var books = new MetricBooks(_format, BlockColumns / d);
        for (var from = 0; from < Inputs; from += BlockColumns)
        {
            var (first, to) = (from, Math.Min(Inputs, from + BlockColumns));
            books.Fill(_workers, codewords, from / d, (to - from) / d, lower);
            ForRows((row, x, c) =>
            {
                var (scale, part) = (Scale(codes, row), PartOf(row));
                float* w = _weights.Row(row), g = products.Row(row);
                float* delta = c, rest = c + d, moved = c + 2 * d;
                for (var k = first; k < to; k += d)
                {
                    var position = k / d;
                    ref var code = ref codes.Codes[row * _rowVectors + position];
                    var book = (_format.IsProduct ? position : part) * _format.CodebookSize;
                    for (var i = 0; i < d; i++) delta[i] = w[k + i] - scale * codewords[(book + code) * d + i];
                    // r = g − δ H_jj is what the other positions' errors do here.
                    for (var i = 0; i < d; i++)
                    {
                        var sum = g[k + i];
                        for (var a = 0; a < d; a++) sum = MathF.FusedMultiplyAdd(-delta[a], hessian.Row(k + a)[k + i], sum);
                        rest[i] = sum;
                    }

                    fixed (float* l = &lower[position * d * d], li = &inverse[position * d * d])
                    {
                        MetricBooks.Multiply(w + k, l, x, d);
                        MetricBooks.Multiply(rest, li, moved, d);
                    }

                    for (var i = 0; i < d; i++) x[i] = (x[i] + moved[i]) / scale;
                    var chosen = (ushort)books.Nearest(position - first / d, part, x);
                    if (chosen == code) continue;
                    for (var i = 0; i < d; i++)
                    {
                        var change = scale * (codewords[(book + code) * d + i] - codewords[(book + chosen) * d + i]);
                        Gptq.Correct(g, hessian.Row(k + i), change, 0, Inputs);
                    }

                    code = chosen;
                }
            });
        }
    }

    private delegate void RowTask(int row, float* x, float* scratch);

    private void ForRows(RowTask body) => _workers.For((_weights.RowCount + TaskRows - 1) / TaskRows, task =>
    {
        var x = stackalloc float[4 * CodebookFormat.MaxVectorLength];
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
