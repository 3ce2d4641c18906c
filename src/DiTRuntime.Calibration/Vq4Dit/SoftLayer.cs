using System.Numerics.Tensors;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>How far the steps of a layer go.</summary>
/// <param name="Logits">Of the logits.</param>
/// <param name="Codewords">Of the codewords, in root mean squares of the layer's codewords; 0 leaves them as they are.</param>
/// <param name="Biases">Of the biases, in root mean squares of the layer's weights.</param>
/// <param name="RatioLoss">Weight of the ratio loss, in multiples of the gradient's own size; 0 leaves it out.</param>
internal readonly record struct StepSizes(float Logits, float Codewords, float Biases, float RatioLoss);

/// <summary>
/// A layer of codewords that is trained: while it is soft, ŵ = s_row Σₘ rₘ C[aₘ] (VQ4DiT, Deng et al. 2024, equation 7); once it is hard, ŵ = s_row C[a].
/// </summary>
/// <remarks>Vectors are cut into tiles in a way that depends on the layer alone, and sums over tiles are taken in their order: the same bits on any number of threads.</remarks>
internal sealed unsafe partial class SoftLayer : ITrainedLayer
{
    /// <summary>Share of frozen vectors from which on the rest takes its best candidate.</summary>
    private const double HardeningShare = 0.99;

    private const int RowsPerTask = 16;

    private readonly Workers _workers;
    private readonly CodebookWeight _start;
    private readonly CodebookFormat _format;
    private readonly int _positions;
    private readonly float[]? _rowScales;

    // Where a codebook's entry lies among the vectors; null where they are in order.
    private readonly int[]? _vectorOfEntry;
    private readonly float[] _vectors;
    private readonly float[] _vectorMoments;
    private readonly float[] _biasMoments;
    private readonly float _codewordSize, _weightSize;
    private SoftAssignments? _soft;
    private ushort[] _codes = [];

    /// <param name="start">What to start from; has a bias or none, as the layer keeps it.</param>
    /// <param name="original">The layer in floating point.</param>
    /// <param name="candidateCount">n; with 1 the layer is hard from the start.</param>
    /// <param name="rule">The ratios to start from.</param>
    /// <param name="workers">Who computes.</param>
    public SoftLayer(CodebookWeight start, LinearWeight original, int candidateCount, RatioRule rule, Workers workers)
    {
        (_workers, _start, _format) = (workers, start, start.Format);
        _positions = _format.VectorsPerRow(start.Inputs);
        _tiles = TilesOf(start);
        _vectors = new float[start.Vectors.Length];
        TensorPrimitives.ConvertToSingle(start.Vectors, _vectors);
        _vectorMoments = new float[_vectors.Length];
        // Biases that the packed file rounds are trained from their own values.
        Bias = original.Bias?.ToArray();
        _biasMoments = new float[Bias?.Length ?? 0];
        _rowScales = _format.HasRowScales ? [.. Enumerable.Range(0, start.Outputs).Select(start.RowScale)] : null;
        if (_format.PoolSize > 0)
        {
            _vectorOfEntry = [.. Enumerable.Range(0, _format.BookCount(start.Inputs)).SelectMany(
                book => Enumerable.Range(0, _format.CodebookSize).Select(code => start.VectorOf(book, code)))];
        }

        _codewordSize = RootMeanSquare(_vectors);
        _weightSize = _codewordSize * (_rowScales is null ? 1 : RootMeanSquare(_rowScales));
        _soft = SoftAssignments.Of(start, original, Math.Min(candidateCount, _format.CodebookSize), rule, workers);
        if (_soft.CandidateCount == 1) Harden();
        else RatioLoss = _tiles.Sum(MeasureRatios) / VectorCount;
    }

    /// <inheritdoc/>
    public int Outputs => _start.Outputs;

    /// <inheritdoc/>
    public int Inputs => _start.Inputs;

    /// <inheritdoc/>
    public float[]? Bias { get; }

    /// <summary>How far the next step goes.</summary>
    public StepSizes Steps { get; set; }

    /// <summary>Whether every vector has one code.</summary>
    public bool IsHard => _soft is null;

    /// <summary>Vectors of the layer.</summary>
    public int VectorCount => Outputs * _positions;

    /// <summary>Vectors whose code is found.</summary>
    public int FrozenCount { get; private set; }

    /// <summary>n·mean(r(1 − r)) over the vectors that are not frozen; 0 once the layer is hard.</summary>
    public double RatioLoss { get; private set; }

    /// <summary>Every vector takes the candidate that counts most.</summary>
    public void Harden()
    {
        if (_soft is null) return;
        _codes = _soft.Harden();
        _soft = null;
        (FrozenCount, RatioLoss) = (VectorCount, 0);
    }

    /// <inheritdoc/>
    public void CopyWeight(Span<float> weight)
    {
        fixed (float* start = weight)
        {
            var rows = start;
            _workers.For((Outputs + RowsPerTask - 1) / RowsPerTask, task =>
            {
                for (var row = task * RowsPerTask; row < Math.Min(Outputs, (task + 1) * RowsPerTask); row++) CopyRow(row, new Span<float>(rows + (nint)row * Inputs, Inputs));
            });
        }
    }

    /// <summary>The layer as a file keeps it; while it is soft, with every vector's best candidate.</summary>
    public CodebookWeight ToWeight()
    {
        var codes = _soft?.Harden() ?? _codes;
        var vectors = Array.ConvertAll(_vectors, value => (Half)value);
        uint[]? table = _vectorOfEntry is null ? null : Array.ConvertAll(_vectorOfEntry, vector => (uint)vector);
        var scales = _rowScales is null ? null : Array.ConvertAll(_rowScales, scale => (Half)scale);
        return CodebookWeight.Pack(_start.Name, Outputs, Inputs, Bias, _format, codes, vectors, table, scales, _start.Activations);
    }

    private void CopyRow(int row, Span<float> target)
    {
        var d = _format.VectorLength;
        var scale = _rowScales?[row] ?? 1;
        for (var j = 0; j < _positions; j++)
        {
            var (vector, book) = (row * _positions + j, BookOf(row, j));
            var sum = target.Slice(j * d, d);
            if (_soft is null)
            {
                TensorPrimitives.Multiply(Codeword(book, _codes[vector]), scale, sum);
                continue;
            }

            sum.Clear();
            for (var m = 0; m < _soft.CandidateCount; m++)
            {
                var ratio = _soft.Ratios[vector * _soft.CandidateCount + m];
                if (ratio == 0) continue;
                var codeword = Codeword(book, _soft.Codes[vector * _soft.CandidateCount + m]);
                for (var i = 0; i < d; i++) sum[i] += scale * ratio * codeword[i];
            }
        }
    }

    private int BookOf(int row, int position) => _format.IsProduct ? position : row / (Outputs / _format.Parts);

    private int VectorOf(int book, int code) => book * _format.CodebookSize + code is var entry && _vectorOfEntry is null ? entry : _vectorOfEntry[entry];

    private ReadOnlySpan<float> Codeword(int book, int code) => _vectors.AsSpan(VectorOf(book, code) * _format.VectorLength, _format.VectorLength);

    private static float RootMeanSquare(ReadOnlySpan<float> values) => MathF.Sqrt(TensorPrimitives.SumOfSquares(values) / values.Length);
}
