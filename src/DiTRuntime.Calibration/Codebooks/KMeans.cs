using System.Numerics.Tensors;
using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Checkpoints;
using DiTRuntime.Sampling;
using Tensor = DiTRuntime.Backends.Tensor;

namespace DiTRuntime.Calibration.Codebooks;

/// <summary>Weighted k-means: codewords c that make E = Σ_p min_c Σᵢ w_pi (p_i − c_i)² small.</summary>
/// <remarks>
/// Seeds by k-means++ (Arthur and Vassilvitskii 2007), on one point of each of at most 65,536 equal runs of the points; then Lloyd's iterations over all of them until E falls by less
/// than a ten-thousandth. A codeword without points moves to the point that is farthest from its own. Nearest codewords come from the backend, sums are taken here, in fp64, over fixed chunks
/// in their order: the same bits on any number of threads.
/// </remarks>
internal sealed class KMeans : IDisposable
{
    /// <summary>Iterations at most, as the papers take.</summary>
    public const int MaxIterations = 100;

    /// <summary>Part of E that an iteration has to win for another to follow.</summary>
    private const double MinGain = 1e-4;

    /// <summary>Points that seeds are drawn from.</summary>
    private const int SeedPoints = 1 << 16;

    /// <summary>Points of a chunk, and how many chunks there are at most: each has sums of its own.</summary>
    private const int ChunkPoints = 1 << 16, MaxChunks = 16;

    private readonly IClusteringBackend _backend;
    private readonly Workers _workers;
    private readonly float[] _points;
    private readonly float[]? _weights;
    private readonly Tensor _pointTensor;
    private readonly Tensor? _weightTensor;
    private readonly Tensor _codes;
    private readonly Tensor _distances;

    /// <param name="backend">Finds nearest codewords.</param>
    /// <param name="workers">Who sums.</param>
    /// <param name="points">p [n, d].</param>
    /// <param name="weights">w [n, d], none negative, or null for ones.</param>
    /// <param name="length">d.</param>
    public KMeans(IClusteringBackend backend, Workers workers, float[] points, float[]? weights, int length)
    {
        (_backend, _workers, _points, _weights, Length) = (backend, workers, points, weights, length);
        Count = points.Length / length;
        _pointTensor = Upload(points);
        _weightTensor = weights is null ? null : Upload(weights);
        _codes = backend.Allocate(ElementType.I32, Count);
        _distances = backend.Allocate(ElementType.F32, Count);
        Codes = new int[Count];
        Distances = new float[Count];
    }

    /// <summary>n.</summary>
    public int Count { get; }

    /// <summary>d.</summary>
    public int Length { get; }

    /// <summary>The nearest codeword of every point after <see cref="Assign(float[])"/>.</summary>
    public int[] Codes { get; }

    /// <summary>The weighted squared distances to them.</summary>
    public float[] Distances { get; }

    /// <summary>Finds codewords.</summary>
    /// <param name="codewordCount">k.</param>
    /// <param name="seed">Seed of the first ones.</param>
    /// <param name="iterations">Lloyd's iterations at most.</param>
    /// <returns>c [k, d].</returns>
    public float[] Fit(int codewordCount, ulong seed, int iterations = MaxIterations)
    {
        var codewords = Seed(codewordCount, seed);
        Refine(codewords, iterations);
        return codewords;
    }

    /// <summary>Makes codewords better by Lloyd's iterations.</summary>
    /// <param name="codewords">in/out c [k, d].</param>
    /// <param name="iterations">How many at most.</param>
    public void Refine(float[] codewords, int iterations)
    {
        var last = double.PositiveInfinity;
        for (var i = 0; i < iterations; i++)
        {
            Assign(codewords);
            var error = Move(codewords, last);
            if (error >= last * (1 - MinGain)) return;
            last = error;
        }
    }

    /// <summary>Gives every point its nearest codeword, in <see cref="Codes"/> and <see cref="Distances"/>.</summary>
    /// <param name="codewords">c [k, d].</param>
    public void Assign(float[] codewords)
    {
        Assign(_pointTensor, _weightTensor, codewords, _codes, _distances);
        _backend.Download<int>(_codes, Codes);
        _backend.Download<float>(_distances, Distances);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _pointTensor.Dispose();
        _weightTensor?.Dispose();
        _codes.Dispose();
        _distances.Dispose();
    }

    private void Assign(Tensor points, Tensor? weights, float[] codewords, Tensor codes, Tensor distances)
    {
        using var tensor = Upload(codewords);
        _backend.AssignNearest(points, weights, tensor, codes, distances);
    }

    private Tensor Upload(float[] values)
    {
        var tensor = _backend.Allocate(ElementType.F32, values.Length / Length, Length);
        _backend.Upload<float>(values, tensor);
        return tensor;
    }

    /// <summary>k-means++: each seed is drawn with chances proportional to the squared distances from those before it.</summary>
    private float[] Seed(int codewordCount, ulong seed)
    {
        var random = new TorchGenerator(seed);
        var count = Math.Min(Count, SeedPoints);
        var rows = new int[count];
        for (var i = 0; i < count; i++) rows[i] = (int)(((long)i * Count + random.NextInt((uint)Count)) / count);
        var points = Gather(_points, rows);
        using var pointTensor = Upload(points);
        using var weightTensor = _weights is null ? null : Upload(Gather(_weights, rows));
        using Tensor codes = _backend.Allocate(ElementType.I32, count), distances = _backend.Allocate(ElementType.F32, count);
        float[] nearest = [.. Enumerable.Repeat(float.PositiveInfinity, count)], last = new float[count];
        var result = new float[codewordCount * Length];
        var chosen = (int)random.NextInt((uint)count);
        for (var c = 0; c < codewordCount; c++)
        {
            var codeword = points.AsSpan(chosen * Length, Length);
            codeword.CopyTo(result.AsSpan(c * Length));
            if (c + 1 == codewordCount) break;
            Assign(pointTensor, weightTensor, codeword.ToArray(), codes, distances);
            _backend.Download<float>(distances, last);
            TensorPrimitives.Min(nearest, last, nearest);
            chosen = Draw(nearest, random.NextUInt32() / (uint.MaxValue + 1.0));
        }

        return result;
    }

    private float[] Gather(float[] values, int[] rows)
    {
        var result = new float[rows.Length * Length];
        for (var i = 0; i < rows.Length; i++) values.AsSpan(rows[i] * Length, Length).CopyTo(result.AsSpan(i * Length));
        return result;
    }

    /// <summary>The point at a part of the sum of all chances; the first where all are zero.</summary>
    private static int Draw(float[] chances, double part)
    {
        double total = 0;
        foreach (var chance in chances) total += chance;
        var target = part * total;
        double sum = 0;
        for (var i = 0; i < chances.Length; i++)
        {
            sum += chances[i];
            if (sum > target) return i;
        }

        return 0;
    }

    /// <summary>Moves every codeword to the weighted mean of its points.</summary>
    /// <param name="codewords">in/out c [k, d]; as they are where E has not become less.</param>
    /// <param name="last">E before.</param>
    /// <returns>E of the codewords as they came.</returns>
    private double Move(float[] codewords, double last)
    {
        var chunkCount = Math.Clamp((Count + ChunkPoints - 1) / ChunkPoints, 1, MaxChunks);
        var chunks = new Sums[chunkCount];
        _workers.For(chunkCount, chunk =>
        {
            chunks[chunk] = new Sums(codewords.Length, Length);
            chunks[chunk].Add(this, (int)((long)chunk * Count / chunkCount), (int)((chunk + 1L) * Count / chunkCount));
        });
        var sums = chunks[0];
        foreach (var chunk in chunks.AsSpan(1)) sums.Add(chunk);
        if (sums.Error >= last * (1 - MinGain)) return sums.Error;
        for (var i = 0; i < codewords.Length; i++)
            if (sums.Masses[i] > 0) codewords[i] = (float)(sums.Moments[i] / sums.Masses[i]);
        int[] empty = [.. Enumerable.Range(0, sums.Counts.Length).Where(c => sums.Counts[c] == 0)];
        foreach (var (codeword, point) in empty.Zip(Farthest(empty.Length))) _points.AsSpan(point * Length, Length).CopyTo(codewords.AsSpan(codeword * Length));
        return sums.Error;
    }

    /// <summary>The points that are farthest from their codewords, the farthest first, the first of equals; none that lies upon its own.</summary>
    private List<int> Farthest(int count)
    {
        if (count == 0) return [];
        // The queue holds the best so far, the worst of them on top: the nearest, of equals the last.
        var queue = new PriorityQueue<int, (float Distance, int Reverse)>(count + 1);
        for (var p = 0; p < Count; p++)
        {
            if (!(Distances[p] > 0) || (queue.Count == count && Distances[p] <= Distances[queue.Peek()])) continue;
            queue.Enqueue(p, (Distances[p], -p));
            if (queue.Count > count) queue.Dequeue();
        }

        var result = new List<int>(queue.Count);
        while (queue.TryDequeue(out var point, out _)) result.Add(point);
        result.Reverse();
        return result;
    }

    /// <summary>Sums over the points of each codeword.</summary>
    private sealed class Sums(int size, int length)
    {
        public double[] Moments { get; } = new double[size];

        public double[] Masses { get; } = new double[size];

        public int[] Counts { get; } = new int[size / length];

        public double Error { get; private set; }

        public void Add(KMeans points, int first, int end)
        {
            for (var p = first; p < end; p++)
            {
                var code = points.Codes[p];
                Counts[code]++;
                Error += points.Distances[p];
                for (int i = 0, to = code * length, from = p * length; i < length; i++, to++, from++)
                {
                    double weight = points._weights is { } weights ? weights[from] : 1;
                    Moments[to] += weight * points._points[from];
                    Masses[to] += weight;
                }
            }
        }

        public void Add(Sums other)
        {
            Error += other.Error;
            TensorPrimitives.Add<double>(Moments, other.Moments, Moments);
            TensorPrimitives.Add<double>(Masses, other.Masses, Masses);
            TensorPrimitives.Add<int>(Counts, other.Counts, Counts);
        }
    }
}
