using System.Runtime.Intrinsics;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Codebooks;

/// <summary>
/// The codebooks at some positions of a row, each multiplied by that position's d×d matrix M: the codeword with the least ‖(x − c)M‖ is then the one nearest to xM. Codewords stand in lanes,
/// so that one vector is compared with sixteen at a time.
/// </summary>
/// <param name="format">Sizes of the codebooks.</param>
/// <param name="positionCount">Positions at most.</param>
internal sealed unsafe class MetricBooks(CodebookFormat format, int positionCount) : IDisposable
{
    private const int Lanes = 16;

    /// <summary>Codewords that are compared at a time; past the last one they lie at infinity.</summary>
    private const int Step = 2 * Lanes;

    private readonly int _length = (format.CodebookSize + Step - 1) / Step * Step;
    private readonly int _booksPerPosition = format.IsProduct ? 1 : format.Parts;
    private readonly NativeBuffer _values = new((long)positionCount * (format.IsProduct ? 1 : format.Parts) * ((format.CodebookSize + Step - 1) / Step * Step) * format.VectorLength * sizeof(float));

    /// <summary>Fills the books.</summary>
    /// <param name="workers">Who does it.</param>
    /// <param name="codewords">C [books, k, d].</param>
    /// <param name="firstPosition">Position of the first.</param>
    /// <param name="count">How many positions.</param>
    /// <param name="metrics">M [positions, d, d].</param>
    public void Fill(Workers workers, float[] codewords, int firstPosition, int count, float[] metrics)
    {
        var d = format.VectorLength;
        workers.For(count * _booksPerPosition, task =>
        {
            var (position, part) = (task / _booksPerPosition, task % _booksPerPosition);
            var book = format.IsProduct ? firstPosition + position : part;
            var to = Book(position, part);
            var product = stackalloc float[CodebookFormat.MaxVectorLength];
            fixed (float* metric = &metrics[(firstPosition + position) * d * d])
            fixed (float* from = &codewords[book * format.CodebookSize * d])
            {
                for (var c = 0; c < _length; c++)
                {
                    if (c < format.CodebookSize) Multiply(from + c * d, metric, product, d);
                    else new Span<float>(product, d).Fill(float.PositiveInfinity);
                    for (var i = 0; i < d; i++) to[i * _length + c] = product[i];
                }
            }
        });
    }

    /// <summary>product = x M.</summary>
    public static void Multiply(float* x, float* metric, float* product, int d)
    {
        for (var i = 0; i < d; i++)
        {
            float sum = 0;
            for (var j = 0; j < d; j++) sum = MathF.FusedMultiplyAdd(x[j], metric[j * d + i], sum);
            product[i] = sum;
        }
    }

    /// <summary>The codeword nearest to xM, the first of equals.</summary>
    /// <param name="position">Counted from the first that is filled.</param>
    /// <param name="part">Part of the rows.</param>
    /// <param name="x">in xM [d].</param>
    public int Nearest(int position, int part, float* x)
    {
        var d = format.VectorLength;
        var book = Book(position, part);
        Vector512<float> best0 = Vector512.Create(float.PositiveInfinity), best1 = best0;
        Vector512<int> index0 = default, index1 = default;
        for (var c = 0; c < _length; c += Step)
        {
            Vector512<float> sum0 = default, sum1 = default;
            var from = book + c;
            for (var i = 0; i < d; i++, from += _length)
            {
                var value = Vector512.Create(x[i]);
                var (delta0, delta1) = (value - Vector512.Load(from), value - Vector512.Load(from + Lanes));
                sum0 = Vector512.FusedMultiplyAdd(delta0, delta0, sum0);
                sum1 = Vector512.FusedMultiplyAdd(delta1, delta1, sum1);
            }

            var at = Vector512.Create(c);
            index0 = Vector512.ConditionalSelect(Vector512.LessThan(sum0, best0).AsInt32(), at, index0);
            index1 = Vector512.ConditionalSelect(Vector512.LessThan(sum1, best1).AsInt32(), at, index1);
            best0 = Vector512.ConditionalSelect(Vector512.LessThan(sum0, best0), sum0, best0);
            best1 = Vector512.ConditionalSelect(Vector512.LessThan(sum1, best1), sum1, best1);
        }

        var distances = stackalloc float[Step];
        var indices = stackalloc int[Step];
        best0.Store(distances);
        best1.Store(distances + Lanes);
        index0.Store(indices);
        index1.Store(indices + Lanes);
        var (nearest, least) = (0, float.PositiveInfinity);
        for (var lane = 0; lane < Step; lane++)
        {
            var candidate = indices[lane] + lane;
            if (distances[lane] < least || (distances[lane] == least && candidate < nearest)) (nearest, least) = (candidate, distances[lane]);
        }

        return Math.Min(nearest, format.CodebookSize - 1);
    }

    /// <summary>A codeword times M.</summary>
    public void Copy(int position, int part, int code, float* product)
    {
        var book = Book(position, part) + code;
        for (var i = 0; i < format.VectorLength; i++) product[i] = book[i * _length];
    }

    /// <inheritdoc/>
    public void Dispose() => _values.Dispose();

    /// <summary>[d, k rounded up].</summary>
    private float* Book(int position, int part) => _values.Floats + (nint)(position * _booksPerPosition + part) * _length * format.VectorLength;
}
