using DiTRuntime.Backends.Training;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Calibration.Dpq;

/// <summary>Nearest vectors of arrays in host memory, found by a backend.</summary>
/// <param name="backend">Who searches.</param>
/// <param name="vectorLength">d.</param>
internal sealed class NearestSearch(IClusteringBackend backend, int vectorLength)
{
    /// <summary>d.</summary>
    public int VectorLength => vectorLength;

    /// <summary>Finds the nearest of some vectors for each of some points; the first of equals.</summary>
    /// <param name="points">in [n, d].</param>
    /// <param name="vectors">in [k, d].</param>
    /// <param name="nearest">out [n].</param>
    /// <param name="distances">out squared distances [n].</param>
    public void Find(ReadOnlySpan<float> points, ReadOnlySpan<float> vectors, Span<int> nearest, Span<float> distances)
    {
        var (count, vectorCount) = (points.Length / vectorLength, vectors.Length / vectorLength);
        using var p = backend.Allocate(ElementType.F32, count, vectorLength);
        using var v = backend.Allocate(ElementType.F32, vectorCount, vectorLength);
        using var codes = backend.Allocate(ElementType.I32, count);
        using var squares = backend.Allocate(ElementType.F32, count);
        backend.Upload(points, p);
        backend.Upload(vectors, v);
        backend.AssignNearest(p, null, v, codes, squares);
        backend.Download(codes, nearest);
        backend.Download(squares, distances);
    }
}
