using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Checkpoints;
using DiTRuntime.Tests.Cuda.Engine;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Cuda.Training;

/// <summary>assign_kernel against plain loops and against the CPU backend.</summary>
[Category(TestDevice.Category)]
internal sealed class AssignKernelTests
{
    // Points on every side of a block's 1024, codewords on every side of a tile's 1024; vectors that are a load, two, and parts of them.
    [TestCase(1, 2, 4, false)]
    [TestCase(300, 3, 17, true)]
    [TestCase(1025, 4, 64, false)]
    [TestCase(70, 4, 1030, true)]
    [TestCase(130, 8, 256, false)]
    public void The_nearest_codeword_is_found_and_the_CPU_finds_it_too(int count, int length, int codewordCount, bool isWeighted)
    {
        var points = Gaussian.Values(count * length, 1);
        var weights = isWeighted ? Array.ConvertAll(Gaussian.Values(count * length, 2), Math.Abs) : null;
        var codewords = Gaussian.Values(codewordCount * length, 3);
        using var device = EmulatedEngine.Create();
        var (codes, distances) = Assign(device, points, weights, codewords, length);

        for (var point = 0; point < count; point++)
        {
            var (code, nearest) = (0, float.PositiveInfinity);
            for (var c = 0; c < codewordCount; c++)
            {
                var distance = 0f;
                for (var i = 0; i < length; i++)
                {
                    var difference = points[point * length + i] - codewords[c * length + i];
                    distance = MathF.FusedMultiplyAdd((weights?[point * length + i] ?? 1) * difference, difference, distance);
                }

                if (distance < nearest) (code, nearest) = (c, distance);
            }

            Assert.That((codes[point], distances[point]), Is.EqualTo((code, nearest)), $"point {point}: the same chain, the same bits");
        }

        using var cpu = CpuBackend.Create(new CpuOptions(ThreadCount: 2));
        Assert.That(Assign(cpu, points, weights, codewords, length), Is.EqualTo((codes, distances)), "all backends choose alike");
    }

    [Test]
    public void The_first_of_equals_is_taken_and_numbers_that_are_none_count_as_far()
    {
        using var device = EmulatedEngine.Create();
        var (codes, distances) = Assign(device, [0, 0, 1, 1, 0.5f, 0.5f, float.NaN, 0], null, [float.NaN, 0, 1, 1, 0, 0, 0, 0, -1, -1], 2);
        Assert.That(codes, Is.EqualTo(new[] { 2, 1, 1, 0 }));
        Assert.That(distances, Is.EqualTo(new[] { 0, 0, 0.5f, float.PositiveInfinity }));
    }

    [Test]
    public void K_means_goes_the_same_way_as_on_the_CPU()
    {
        using var device = EmulatedEngine.Create();
        using var cpu = CpuBackend.Create(new CpuOptions(ThreadCount: 2));
        var (expected, actual) = (Cluster(cpu), Cluster(device));
        Assert.That(actual, Is.EqualTo(expected), "one chain a distance on both: codewords, codes and distances to the bit");
        Assert.That(expected.Codes.Distinct().Count(), Is.EqualTo(16));

        static (float[] Codewords, int[] Codes, float[] Distances) Cluster(IClusteringBackend backend)
        {
            using var workers = new Workers(2);
            using var clusters = new KMeans(backend, workers, Gaussian.Values(1500 * 3, 1), Array.ConvertAll(Gaussian.Values(1500 * 3, 2), Math.Abs), 3);
            var codewords = clusters.Fit(16, seed: 5, iterations: 6);
            clusters.Assign(codewords);
            return (codewords, clusters.Codes, clusters.Distances);
        }
    }

    private static (int[] Codes, float[] Distances) Assign(IClusteringBackend backend, float[] points, float[]? weights, float[] codewords, int length)
    {
        var count = points.Length / length;
        using var p = Upload(points);
        using var w = weights is null ? null : Upload(weights);
        using var c = Upload(codewords);
        using var codes = backend.Allocate(ElementType.I32, count);
        using var distances = backend.Allocate(ElementType.F32, count);
        backend.AssignNearest(p, w, c, codes, distances);
        var result = (Codes: new int[count], Distances: new float[count]);
        backend.Download<int>(codes, result.Codes);
        backend.Download<float>(distances, result.Distances);
        return result;

        Tensor Upload(float[] values)
        {
            var tensor = backend.Allocate(ElementType.F32, values.Length / length, length);
            backend.Upload<float>(values, tensor);
            return tensor;
        }
    }
}
