using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Codebooks;

/// <summary>A weight as codes: w[n, jd + i] = s_n · C[book, code(n, j), i].</summary>
/// <param name="Codes">[N, K/d].</param>
/// <param name="Vectors">C [books, k, d].</param>
/// <param name="RowScales">s [N], or null for ones.</param>
internal sealed record CodebookCodes(ushort[] Codes, Half[] Vectors, Half[]? RowScales);

/// <summary>The vectors that share a codebook: some rows at some positions.</summary>
/// <param name="FirstRow">First row.</param>
/// <param name="RowCount">Rows.</param>
/// <param name="FirstPosition">First vector of a row.</param>
/// <param name="PositionCount">Vectors of a row.</param>
internal readonly record struct BookRegion(int FirstRow, int RowCount, int FirstPosition, int PositionCount)
{
    /// <summary>The regions of a weight's codebooks, in their order.</summary>
    public static IEnumerable<BookRegion> Of(CodebookFormat format, int outputs, int inputs)
    {
        var (vectors, partRows) = (format.VectorsPerRow(inputs), outputs / format.Parts);
        return format.IsProduct
            ? Enumerable.Range(0, vectors).Select(position => new BookRegion(0, outputs, position, 1))
            : Enumerable.Range(0, format.Parts).Select(part => new BookRegion(part * partRows, partRows, 0, vectors));
    }
}

/// <summary>Fits codebooks to a weight by k-means, and gives every vector its nearest codeword.</summary>
/// <remarks>
/// It makes Σ h_k (w_nk − s_n c)² small, h being the second moments of the inputs or ones. Row scales start as the root mean square of each row; then codes and codewords for given scales, and
/// scales s_n = ⟨w, c⟩/⟨c, c⟩ for given codes, take turns. Scales and codewords are rounded to F16 before codes are chosen.
/// </remarks>
/// <param name="backend">Finds nearest codewords.</param>
/// <param name="workers">Who computes the rest.</param>
/// <param name="seed">Seed of k-means.</param>
internal sealed unsafe class CodebookQuantizer(IClusteringBackend backend, Workers workers, ulong seed)
{
    /// <summary>Times that row scales are fitted to codes.</summary>
    private const int ScaleRounds = 3;

    /// <summary>Iterations of k-means after such a fit.</summary>
    private const int RefineIterations = 10;

    /// <summary>Quantizes a weight.</summary>
    /// <param name="weights">W [N, K].</param>
    /// <param name="format">Sizes of the codebooks; a pool is not made here.</param>
    /// <param name="importance">h [K], or null for ones.</param>
    public CodebookCodes Quantize(Matrix weights, CodebookFormat format, float[]? importance = null)
    {
        BookRegion[] regions = [.. BookRegion.Of(format, weights.RowCount, weights.ColumnCount)];
        var (d, bookLength) = (format.VectorLength, format.CodebookSize * format.VectorLength);
        var vectors = new Half[regions.Length * bookLength];
        var codes = new ushort[weights.RowCount * format.VectorsPerRow(weights.ColumnCount)];
        var codewords = new float[regions.Length][];
        var scales = format.HasRowScales ? InitialScales(weights, importance) : null;
        for (var round = 0; ; round++)
        {
            for (var book = 0; book < regions.Length; book++)
            {
                var region = regions[book];
                using var points = Gather(weights, region, d, scales, importance);
                if (round == 0) codewords[book] = points.Fit(format.CodebookSize, seed + (ulong)book);
                else points.Refine(codewords[book], RefineIterations);
                RoundToHalf(codewords[book], vectors.AsSpan(book * bookLength, bookLength));
                points.Assign(codewords[book]);
                Scatter(points.Codes, region, codes, weights.ColumnCount / d);
            }

            if (scales is null || round == ScaleRounds) return new CodebookCodes(codes, vectors, scales);
            FitScales(weights, format, importance, new CodebookCodes(codes, vectors, scales));
        }
    }

    /// <summary>Rounds codewords to what a file holds.</summary>
    /// <param name="codewords">in/out.</param>
    /// <param name="halves">The same values.</param>
    public static void RoundToHalf(Span<float> codewords, Span<Half> halves)
    {
        for (var i = 0; i < codewords.Length; i++) codewords[i] = (float)(halves[i] = (Half)Math.Clamp(codewords[i], (float)Half.MinValue, (float)Half.MaxValue));
    }

    /// <summary>A row scale as a file holds it, or the one before where a row has none: a row of zeros, or codewords that do not point its way.</summary>
    public static Half RoundScale(double scale, Half before) => (Half)scale is var rounded && rounded > Half.Zero && Half.IsFinite(rounded) ? rounded : before;

    private Half[] InitialScales(Matrix weights, float[]? importance)
    {
        var scales = new Half[weights.RowCount];
        workers.For(weights.RowCount, row =>
        {
            var (sum, mass) = (0.0, 0.0);
            for (var k = 0; k < weights.ColumnCount; k++)
            {
                var (w, h) = (weights.Row(row)[k], importance?[k] ?? 1);
                sum += (double)h * w * w;
                mass += h;
            }

            scales[row] = RoundScale(Math.Sqrt(sum / Math.Max(mass, double.Epsilon)), (Half)1);
        });
        return scales;
    }

    private KMeans Gather(Matrix weights, BookRegion region, int d, Half[]? scales, float[]? importance)
    {
        var rowLength = region.PositionCount * d;
        var points = new float[region.RowCount * rowLength];
        var masses = scales is null && importance is null ? null : new float[points.Length];
        workers.For(region.RowCount, r =>
        {
            var row = weights.Row(region.FirstRow + r) + region.FirstPosition * d;
            var scale = scales is null ? 1 : (float)scales[region.FirstRow + r];
            for (var i = 0; i < rowLength; i++)
            {
                points[r * rowLength + i] = row[i] / scale;
                if (masses is not null) masses[r * rowLength + i] = scale * scale * (importance?[region.FirstPosition * d + i] ?? 1);
            }
        });
        return new KMeans(backend, workers, points, masses, d);
    }

    private static void Scatter(int[] from, BookRegion region, ushort[] codes, int rowVectors)
    {
        for (var r = 0; r < region.RowCount; r++)
            for (var p = 0; p < region.PositionCount; p++)
                codes[(region.FirstRow + r) * rowVectors + region.FirstPosition + p] = (ushort)from[r * region.PositionCount + p];
    }

    private void FitScales(Matrix weights, CodebookFormat format, float[]? importance, CodebookCodes codes)
    {
        var (d, rowVectors) = (format.VectorLength, format.VectorsPerRow(weights.ColumnCount));
        workers.For(weights.RowCount, row =>
        {
            var (cross, square) = (0.0, 0.0);
            for (var k = 0; k < weights.ColumnCount; k++)
            {
                var position = k / d;
                var book = format.IsProduct ? position : row / (weights.RowCount / format.Parts);
                double c = (float)codes.Vectors[(book * format.CodebookSize + codes.Codes[row * rowVectors + position]) * d + k % d];
                double h = importance?[k] ?? 1;
                cross += h * weights.Row(row)[k] * c;
                square += h * c * c;
            }

            codes.RowScales![row] = RoundScale(cross / square, codes.RowScales[row]);
        });
    }
}
