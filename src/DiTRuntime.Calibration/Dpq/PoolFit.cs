using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Dpq;

/// <summary>
/// Turns the codebooks of a layer into numbers of one pool, and fits pool, numbers and codes to each other: Lloyd's steps on Σ hᵢ (w − ŵ)², with h the second moments of the inputs.
/// No step raises that sum.
/// </summary>
/// <param name="workers">Who computes.</param>
/// <param name="search">Who finds nearest vectors.</param>
/// <param name="weights">W [N, K].</param>
/// <param name="moments">h [K], positive.</param>
internal sealed unsafe class PoolFit(Workers workers, NearestSearch search, Matrix weights, float[] moments)
{
    private readonly int _length = search.VectorLength;

    /// <summary>Makes the pooled layer.</summary>
    /// <param name="raw">A layer with a codebook for each position.</param>
    /// <param name="format">The same with a pool.</param>
    /// <param name="iterations">Rounds of Lloyd's steps.</param>
    public CodebookLayer Pool(CodebookLayer raw, CodebookFormat format, int iterations)
    {
        var pooled = new CodebookLayer(raw.Name, raw.Outputs, raw.Inputs, format, raw.Bias) { Activations = raw.Activations };
        raw.Codes.CopyTo(pooled.Codes, 0);
        raw.RowScales.CopyTo(pooled.RowScales, 0);
        var members = CodebookPool.Choose(search, raw.Vectors, CountUses(raw), format.PoolSize);
        for (var i = 0; i < members.Length; i++) raw.Vectors.AsSpan(members[i] * _length, _length).CopyTo(pooled.Vectors.AsSpan(i * _length));
        ChooseNumbers(pooled, raw.Vectors);
        for (var i = 0; i < iterations; i++)
        {
            ChooseCodes(pooled);
            ChooseNumbers(pooled, Means(pooled));
            FitVectors(pooled);
        }

        ChooseCodes(pooled);
        return pooled;
    }

    /// <summary>Σ hᵢ (w − ŵ)².</summary>
    public double Error(CodebookLayer layer)
    {
        var errors = new double[layer.Outputs];
        layer.ForRows(workers, row =>
        {
            for (var i = 0; i < layer.Inputs; i++)
            {
                double e = weights.Row(row)[i] - layer.RowScales[row] * layer.Vectors[layer.VectorAt(row, i / _length) * _length + i % _length];
                errors[row] += moments[i] * e * e;
            }
        });
        return errors.Sum();
    }

    private static long[] CountUses(CodebookLayer layer)
    {
        var uses = new long[layer.VectorCount];
        for (var row = 0; row < layer.Outputs; row++)
            for (var j = 0; j < layer.VectorsPerRow; j++) uses[layer.VectorAt(row, j)]++;
        return uses;
    }

    /// <summary>Gives every place the nearest entry of its codebook.</summary>
    private void ChooseCodes(CodebookLayer layer)
    {
        var k = layer.Format.CodebookSize;
        var (points, book) = (new float[layer.Outputs * _length], new float[k * _length]);
        var (nearest, distances) = (new int[layer.Outputs], new float[layer.Outputs]);
        for (var j = 0; j < layer.VectorsPerRow; j++)
        {
            for (var i = 0; i < _length; i++)
            {
                var factor = MathF.Sqrt(moments[j * _length + i]);
                for (var row = 0; row < layer.Outputs; row++) points[row * _length + i] = factor * weights.Row(row)[j * _length + i] / layer.RowScales[row];
                for (var c = 0; c < k; c++) book[c * _length + i] = factor * layer.Vectors[layer.Table[j * k + c] * _length + i];
            }

            search.Find(points, book, nearest, distances);
            for (var row = 0; row < layer.Outputs; row++) layer.Codes[row * layer.VectorsPerRow + j] = (ushort)nearest[row];
        }
    }

    /// <summary>Gives every entry of the codebooks the pool vector nearest to a point of its own.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="entries">[books, k, d].</param>
    private void ChooseNumbers(CodebookLayer layer, float[] entries)
    {
        var k = layer.Format.CodebookSize;
        var (points, pool) = (new float[k * _length], new float[layer.Vectors.Length]);
        var distances = new float[k];
        for (var j = 0; j < layer.VectorsPerRow; j++)
        {
            for (var i = 0; i < _length; i++)
            {
                var factor = MathF.Sqrt(moments[j * _length + i]);
                for (var c = 0; c < k; c++) points[c * _length + i] = factor * entries[(j * k + c) * _length + i];
                for (var at = i; at < pool.Length; at += _length) pool[at] = factor * layer.Vectors[at];
            }

            search.Find(points, pool, layer.Table.AsSpan(j * k, k), distances);
        }
    }

    /// <summary>For each entry of the codebooks the mean Σ s·w / Σ s² of the places that use it; what stands there where none does.</summary>
    private float[] Means(CodebookLayer layer)
    {
        var k = layer.Format.CodebookSize;
        var means = new float[layer.Table.Length * _length];
        workers.For(layer.VectorsPerRow, j =>
        {
            var (sums, counts) = (new double[k * _length], new double[k]);
            for (var row = 0; row < layer.Outputs; row++)
            {
                var code = layer.Codes[row * layer.VectorsPerRow + j];
                var scale = layer.RowScales[row];
                counts[code] += scale * scale;
                for (var i = 0; i < _length; i++) sums[code * _length + i] += scale * weights.Row(row)[j * _length + i];
            }

            for (var c = 0; c < k; c++)
                for (var i = 0; i < _length; i++)
                    means[(j * k + c) * _length + i] = counts[c] > 0 ? (float)(sums[c * _length + i] / counts[c]) : layer.Vectors[layer.Table[j * k + c] * _length + i];
        });
        return means;
    }

    /// <summary>Every pool vector becomes Σ h·s·w / Σ h·s² over the places that it stands in.</summary>
    private void FitVectors(CodebookLayer layer)
    {
        var (sums, counts) = (new double[layer.Vectors.Length], new double[layer.Vectors.Length]);
        for (var row = 0; row < layer.Outputs; row++)
        {
            var scale = layer.RowScales[row];
            for (var j = 0; j < layer.VectorsPerRow; j++)
            {
                var at = layer.VectorAt(row, j) * _length;
                for (var i = 0; i < _length; i++)
                {
                    var h = moments[j * _length + i];
                    sums[at + i] += h * scale * weights.Row(row)[j * _length + i];
                    counts[at + i] += h * scale * scale;
                }
            }
        }

        for (var i = 0; i < sums.Length; i++)
            if (counts[i] > 0) layer.Vectors[i] = (float)(sums[i] / counts[i]);
    }
}
