using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Backends;

/// <summary>Nearest codewords against a plain double loop, at every vector width and several thread counts.</summary>
public sealed class AssignNearestTests
{
    /// <summary>Chunks of 2048 points, tiles of 16, 32 and 64: sizes around each.</summary>
    [TestCase(1, 2, 1)]
    [TestCase(15, 2, 4)]
    [TestCase(65, 3, 2)]
    [TestCase(2047, 4, 16)]
    [TestCase(2049, 5, 7)]
    [TestCase(4100, 8, 256)]
    [TestCase(130, 7, 65_536)]
    public void Chooses_what_a_double_loop_chooses(int count, int length, int codewordCount)
    {
        var random = new Random(1);
        var (points, codewords) = (Values(random, count * length), Values(random, codewordCount * length));
        float[] weights = [.. Values(random, count * length).Select(MathF.Abs)];
        foreach (var w in new[] { null, weights })
        {
            var results = new[] { (128, 1), (256, 2), (512, 5) }.Select(option => Run(option.Item1, option.Item2, points, w, codewords, length)).ToArray();

            Assert.That(results[1].Codes.SequenceEqual(results[0].Codes) && results[1].Distances.SequenceEqual(results[0].Distances), "256 bits on two threads as 128 on one");
            Assert.That(results[2].Codes.SequenceEqual(results[0].Codes) && results[2].Distances.SequenceEqual(results[0].Distances), "512 bits on five threads as 128 on one");
            for (var p = 0; p < count; p += Math.Max(1, count * codewordCount / 2_000_000))
            {
                var (best, nearest) = (double.PositiveInfinity, 0.0);
                for (var c = 0; c < codewordCount; c++)
                {
                    double sum = 0;
                    for (var i = 0; i < length; i++) sum += (w?[p * length + i] ?? 1.0) * Math.Pow(points[p * length + i] - (double)codewords[c * length + i], 2);
                    if (c == results[0].Codes[p]) nearest = sum;
                    best = Math.Min(best, sum);
                }

                // fp32 rounding of d differences, products and sums: the choice is as good as the best, and the distance is its own.
                Assert.That(nearest, Is.EqualTo(best).Within(1e-5 * (best + 1e-6)));
                Assert.That(results[0].Distances[p], Is.EqualTo(best).Within(1e-5 * (best + 1e-6)));
            }
        }
    }

    [Test]
    public void The_first_of_equals_is_taken_and_numbers_that_are_none_count_as_far()
    {
        float[] codewords = [float.NaN, 0, 1, 1, 0, 0, 0, 0, -1, -1];

        var (codes, distances) = Run(0, 1, [0, 0, 1, 1, 0.5f, 0.5f, float.NaN, 0], null, codewords, 2);

        Assert.That(codes, Is.EqualTo(new[] { 2, 1, 1, 0 }));
        Assert.That(distances, Is.EqualTo(new[] { 0, 0, 0.5f, float.PositiveInfinity }));
    }

    [Test]
    public void Tensors_that_do_not_fit_are_refused_by_name()
    {
        using var backend = CpuBackend.Create(new CpuOptions(1));
        using Tensor points = backend.Allocate(ElementType.F32, 4, 2), wide = backend.Allocate(ElementType.F32, 4, 9), codes = backend.Allocate(ElementType.I32, 4), distances = backend.Allocate(ElementType.F32, 4);
        using Tensor codewords = backend.Allocate(ElementType.F32, 3, 2), many = backend.Allocate(ElementType.F32, 65_537, 2), few = backend.Allocate(ElementType.F32, 3);

        void Refuses(string name, Action call) => Assert.That(Assert.Throws<ArgumentException>(() => call())!.ParamName, Is.EqualTo(name));
        Refuses("points", () => backend.AssignNearest(wide, null, codewords, codes, distances));
        Refuses("codewords", () => backend.AssignNearest(points, null, wide, codes, distances));
        Refuses("codewords", () => backend.AssignNearest(points, null, many, codes, distances));
        Refuses("weights", () => backend.AssignNearest(points, codewords, codewords, codes, distances));
        Refuses("distances", () => backend.AssignNearest(points, null, codewords, codes, few));
    }

    private static (int[] Codes, float[] Distances) Run(int bits, int threads, float[] points, float[]? weights, float[] codewords, int length)
    {
        using var backend = CpuBackend.Create(new CpuOptions(threads, bits));
        var count = points.Length / length;
        using Tensor p = CpuBackendTests.Upload(backend, points, count, length), c = CpuBackendTests.Upload(backend, codewords, codewords.Length / length, length);
        using Tensor codes = backend.Allocate(ElementType.I32, count), distances = backend.Allocate(ElementType.F32, count);
        using var w = weights is null ? null : CpuBackendTests.Upload(backend, weights, count, length);
        backend.AssignNearest(p, w, c, codes, distances);
        var result = (Codes: new int[count], Distances: new float[count]);
        backend.Download<int>(codes, result.Codes);
        backend.Download<float>(distances, result.Distances);
        return result;
    }

    private static float[] Values(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => (float)random.NextDouble() * 2 - 1)];
}
