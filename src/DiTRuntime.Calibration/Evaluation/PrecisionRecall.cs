using System.Numerics.Tensors;
using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>Improved precision and recall (Kynkäänniemi et al. 2019).</summary>
/// <param name="Precision">Share of samples within the k-nearest-neighbour ball of some reference.</param>
/// <param name="Recall">Share of references within the ball of some sample.</param>
public readonly record struct PrecisionRecall(double Precision, double Recall)
{
    /// <summary>k of the ADM evaluator.</summary>
    private const int Neighbours = 3;

    /// <summary>Rows and columns of the ADM evaluator's distance blocks; whether half precision was finite is decided per block.</summary>
    private const int EvaluatorBlock = 10_000;

    /// <summary>Rows and columns of the products here: 16 MB of distances.</summary>
    private const int Tile = 2000;

    /// <summary>Compares two sets of features.</summary>
    /// <remarks>
    /// As in the ADM evaluator: the ball of a point reaches to the 4th smallest distance in its own set, itself included; distances are
    /// max(|u|² − 2uv + |v|², 0) in half precision, in single precision for a block of 10,000×10,000 in which half is not finite. Sums are
    /// made in single precision and rounded; the evaluator leaves the order of its half-precision sums to its device.
    /// </remarks>
    /// <param name="reference">[N, F].</param>
    /// <param name="samples">[M, F].</param>
    /// <param name="featureCount">F.</param>
    /// <param name="backend">Multiplies.</param>
    /// <exception cref="UsageException">A set has fewer than four members.</exception>
    public static PrecisionRecall Of(ReadOnlyMemory<float> reference, ReadOnlyMemory<float> samples, int featureCount, IDiTBackend backend)
    {
        var (references, generated) = (new PointSet(reference, featureCount), new PointSet(samples, featureCount));
        float[] referenceRadii = Radii(references, backend), sampleRadii = Radii(generated, backend);
        var (referencesIn, samplesIn) = (new bool[references.Count], new bool[generated.Count]);
        ForEachTile(references, generated, backend, (row, firstColumn, distances) =>
        {
            for (var j = 0; j < distances.Length; j++)
            {
                if (distances[j] <= sampleRadii[firstColumn + j]) referencesIn[row] = true;
                if (distances[j] <= referenceRadii[row]) samplesIn[firstColumn + j] = true;
            }
        });
        return new PrecisionRecall(Share(samplesIn), Share(referencesIn));
    }

    private static double Share(bool[] flags) => flags.Count(flag => flag) / (double)flags.Length;

    private static float[] Radii(PointSet points, IDiTBackend backend)
    {
        if (points.Count <= Neighbours) throw new UsageException($"precision and recall need more than {Neighbours} images; there are {points.Count}");
        // The four smallest distances of each point, ascending.
        var nearest = new float[points.Count * (Neighbours + 1)];
        nearest.AsSpan().Fill(float.PositiveInfinity);
        ForEachTile(points, points, backend, (row, _, distances) =>
        {
            var kept = nearest.AsSpan(row * (Neighbours + 1), Neighbours + 1);
            foreach (var distance in distances)
            {
                if (distance >= kept[Neighbours]) continue;
                var place = Neighbours;
                for (; place > 0 && kept[place - 1] > distance; place--) kept[place] = kept[place - 1];
                kept[place] = distance;
            }
        });
        var radii = new float[points.Count];
        for (var i = 0; i < radii.Length; i++) radii[i] = nearest[i * (Neighbours + 1) + Neighbours];
        return radii;
    }

    private delegate void RowVisitor(int row, int firstColumn, ReadOnlySpan<float> distances);

    private static void ForEachTile(PointSet rows, PointSet columns, IDiTBackend backend, RowVisitor visit)
    {
        for (var row = 0; row < rows.Count; row += EvaluatorBlock)
            for (var column = 0; column < columns.Count; column += EvaluatorBlock)
            {
                var (rowCount, columnCount) = (Math.Min(EvaluatorBlock, rows.Count - row), Math.Min(EvaluatorBlock, columns.Count - column));
                var half = true;
                VisitBlock(rows, row, rowCount, columns, column, columnCount, backend, half, (_, _, distances) => half &= TensorPrimitives.IsFiniteAll(distances));
                VisitBlock(rows, row, rowCount, columns, column, columnCount, backend, half, visit);
            }
    }

    private static void VisitBlock(PointSet rows, int firstRow, int rowCount, PointSet columns, int firstColumn, int columnCount, IDiTBackend backend, bool half, RowVisitor visit)
    {
        var (u, v) = (half ? rows.Half : rows, half ? columns.Half : columns);
        var products = new float[Tile * Tile];
        for (var column = 0; column < columnCount; column += Tile)
        {
            var width = Math.Min(Tile, columnCount - column);
            using var right = backend.Prepare(new MemoryWeight("features", width, u.FeatureCount, v.Points.Slice((firstColumn + column) * v.FeatureCount, width * v.FeatureCount)));
            for (var row = 0; row < rowCount; row += Tile)
            {
                var height = Math.Min(Tile, rowCount - row);
                using var left = backend.Allocate(ElementType.F32, height, u.FeatureCount);
                using var output = backend.Allocate(ElementType.F32, height, width);
                backend.Upload(u.Points.Span.Slice((firstRow + row) * u.FeatureCount, height * u.FeatureCount), left);
                backend.Linear(left, right, Epilogue.None, output);
                backend.Download(output, products.AsSpan(0, height * width));
                for (var i = 0; i < height; i++)
                {
                    var distances = products.AsSpan(i * width, width);
                    Distances(u.Norms[firstRow + row + i], v.Norms.AsSpan(firstColumn + column, width), distances, half);
                    visit(firstRow + row + i, firstColumn + column, distances);
                }
            }
        }
    }

    /// <summary>uv → max(|u|² − 2uv + |v|², 0), every step rounded to half where asked.</summary>
    private static void Distances(float norm, ReadOnlySpan<float> norms, Span<float> products, bool half)
    {
        for (var j = 0; j < products.Length; j++)
        {
            products[j] = half
                ? MathF.Max(Rounded(Rounded(norm - Rounded(2 * Rounded(products[j]))) + norms[j]), 0)
                : MathF.Max(norm - 2 * products[j] + norms[j], 0);
        }
    }

    private static float Rounded(float value) => (float)(Half)value;

    /// <summary>Points and their squared lengths.</summary>
    private sealed class PointSet
    {
        private PointSet? _half;

        public PointSet(ReadOnlyMemory<float> points, int featureCount, bool isHalf = false)
        {
            if (points.Length % featureCount != 0) throw new ArgumentException($"{points.Length} values do not divide into vectors of {featureCount}", nameof(points));
            (Points, FeatureCount, Count) = (points, featureCount, points.Length / featureCount);
            Norms = new float[Count];
            for (var i = 0; i < Count; i++)
            {
                float sum = 0;
                foreach (var value in points.Span.Slice(i * featureCount, featureCount)) sum += isHalf ? Rounded(value * value) : value * value;
                Norms[i] = isHalf ? Rounded(sum) : sum;
            }
        }

        public ReadOnlyMemory<float> Points { get; }

        public int FeatureCount { get; }

        public int Count { get; }

        public float[] Norms { get; }

        /// <summary>The same points rounded to half precision.</summary>
        public PointSet Half => _half ??= new PointSet(Array.ConvertAll(Points.ToArray(), Rounded), FeatureCount, isHalf: true);
    }
}
