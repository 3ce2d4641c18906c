namespace DiTRuntime.Calibration.Dpq;

/// <summary>
/// Chooses the vectors that stand for all codebooks of a layer (DPQ, Shao et al. 2024, section 3.2): centroids by importance, each taken if it is farther than a threshold from all that
/// were taken before it.
/// </summary>
internal static class CodebookPool
{
    /// <summary>Centroids that are compared with the pool in one search.</summary>
    private const int Together = 1024;

    /// <summary>Halvings of the threshold's bracket at most, and the part of the threshold that the bracket may be wide in the end.</summary>
    private const int Bisections = 24, Precision = 64;

    /// <summary>The centroids of a pool of a given size, at the largest threshold that fills it.</summary>
    /// <param name="search">Who finds nearest vectors.</param>
    /// <param name="centroids">in [n, d].</param>
    /// <param name="importance">in How often each is used [n]; what is never used is taken only when nothing else is left.</param>
    /// <param name="poolSize">P, at most n.</param>
    /// <returns>P indices of centroids, those that passed the threshold first, each part by importance.</returns>
    public static int[] Choose(NearestSearch search, float[] centroids, long[] importance, int poolSize)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(poolSize, importance.Length);
        var order = Enumerable.Range(0, importance.Length).OrderByDescending(i => importance[i]).ToArray();
        var used = order.AsSpan(0, order.Count(i => importance[i] > 0));
        // The bracket: 0 takes all that differ, and no two centroids are farther apart than twice the longest.
        float low = 0, high = 2 * MathF.Sqrt(LongestSquare(centroids, search.VectorLength) / search.VectorLength);
        var pool = Take(search, centroids, used, low, poolSize);
        for (var i = 0; i < Bisections && pool.Count == poolSize && high - low > high / Precision; i++)
        {
            var middle = (low + high) / 2;
            var taken = Take(search, centroids, used, middle, poolSize);
            if (taken.Count == poolSize) (low, pool) = (middle, taken);
            else high = middle;
        }

        if (pool.Count < poolSize)
        {
            var known = pool.ToHashSet();
            pool.AddRange(order.Where(i => !known.Contains(i)).Take(poolSize - pool.Count));
        }

        return [.. pool];
    }

    /// <summary>Takes centroids in order, each that is farther than the threshold (root mean square over d) from all taken ones, until the pool is full.</summary>
    private static List<int> Take(NearestSearch search, float[] centroids, ReadOnlySpan<int> order, float threshold, int poolSize)
    {
        var d = search.VectorLength;
        var limit = threshold * threshold * d;
        var pool = new List<int>(poolSize);
        var vectors = new float[poolSize * d];
        var points = new float[Together * d];
        var (nearest, distances) = (new int[Together], new float[Together]);
        for (var first = 0; first < order.Length && pool.Count < poolSize; first += Together)
        {
            var block = order.Slice(first, Math.Min(Together, order.Length - first));
            for (var i = 0; i < block.Length; i++) centroids.AsSpan(block[i] * d, d).CopyTo(points.AsSpan(i * d));
            var known = pool.Count;
            if (known > 0) search.Find(points.AsSpan(0, block.Length * d), vectors.AsSpan(0, known * d), nearest.AsSpan(0, block.Length), distances.AsSpan(0, block.Length));
            for (var i = 0; i < block.Length && pool.Count < poolSize; i++)
            {
                var point = points.AsSpan(i * d, d);
                if (known > 0 && !(distances[i] > limit) || !IsApart(point, vectors.AsSpan(known * d, (pool.Count - known) * d), limit)) continue;
                point.CopyTo(vectors.AsSpan(pool.Count * d));
                pool.Add(block[i]);
            }
        }

        return pool;
    }

    private static bool IsApart(ReadOnlySpan<float> point, ReadOnlySpan<float> vectors, float limit)
    {
        for (var at = 0; at < vectors.Length; at += point.Length)
        {
            float square = 0;
            for (var i = 0; i < point.Length; i++) square += (point[i] - vectors[at + i]) * (point[i] - vectors[at + i]);
            if (!(square > limit)) return false;
        }

        return true;
    }

    private static float LongestSquare(float[] centroids, int d)
    {
        float longest = 0;
        for (var at = 0; at < centroids.Length; at += d)
        {
            float square = 0;
            for (var i = 0; i < d; i++) square += centroids[at + i] * centroids[at + i];
            longest = Math.Max(longest, square);
        }

        return longest;
    }
}
