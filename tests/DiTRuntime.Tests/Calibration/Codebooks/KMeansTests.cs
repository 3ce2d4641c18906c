using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Calibration.Codebooks;

public sealed class KMeansTests
{
    /// <summary>Mean squared error on normal values that the codewords were not fitted to; the bounds are those of an independent k-means on 200,000 vectors.</summary>
    [TestCase(64, 2, 0.0297, 0.0307)]
    [TestCase(256, 4, 0.096, 0.100)]
    [TestCase(256, 8, 0.318, 0.328)]
    public void Loses_on_new_normal_values_what_vectors_of_that_size_lose(int k, int d, double least, double most)
    {
        const int count = 100_000;
        var values = Gaussian.Values(2 * count * d, d);

        var codewords = Fit(values[..(count * d)], null, d, k);

        using var fresh = new Clusters(values[(count * d)..], null, d);
        fresh.Points.Assign(codewords);
        Assert.That(fresh.Points.Distances.Sum(x => (double)x) / (count * d), Is.InRange(least, most));
    }

    [Test]
    public void Each_codeword_is_the_weighted_mean_of_its_points_when_nothing_moves_any_more([Values] bool isWeighted)
    {
        const int count = 500, d = 3, k = 10;
        var points = Gaussian.Values(count * d, 1);
        float[]? weights = isWeighted ? [.. Gaussian.Values(count * d, 2).Select(MathF.Abs)] : null;

        var codewords = Fit(points, weights, d, k);

        var (error, means) = Naive(points, weights, d, codewords);
        using var again = new Clusters(points, weights, d);
        again.Points.Assign(means);
        // The last iteration wins less than a ten-thousandth.
        Assert.That(error, Is.EqualTo(again.Points.Distances.Sum(x => (double)x)).Within(0.02).Percent);
        Assert.That(error, Is.LessThan(0.65 * points.Select((p, i) => (double)p * p * (weights?[i] ?? 1)).Sum()));
    }

    /// <summary>A point of weight 1000 pulls its codeword to itself.</summary>
    [Test]
    public void Weights_count_by_element()
    {
        var codewords = Fit([0, 0, 1, 1], [1000, 1, 1, 1000], 2, 1);

        Assert.That(codewords, Is.EqualTo(new[] { 1 / 1001f, 1000 / 1001f }).Within(1e-6));
    }

    [Test]
    public void Any_number_of_threads_gives_the_same_codewords()
    {
        var points = Gaussian.Values(300_000, 3);

        var results = new[] { 1, 2, 5 }.Select(threads => Fit(points, null, 2, 32, threads)).ToArray();

        Assert.That(results[1], Is.EqualTo(results[0]));
        Assert.That(results[2], Is.EqualTo(results[0]));
        Assert.That(Fit(points, null, 2, 32, 2, seed: 8), Is.Not.EqualTo(results[0]));
    }

    [Test]
    public void A_codeword_without_points_moves_to_the_farthest_point()
    {
        float[] points = [0, 0, 0, 1, 9, 9, -7, 0];
        float[] codewords = [0, 0, 100, 100, 200, 200];
        using var clusters = new Clusters(points, null, 2);

        clusters.Points.Refine(codewords, 10);

        Assert.That(codewords, Is.EqualTo(new[] { 0, 0.5f, 9, 9, -7, 0 }));
    }

    [Test]
    public void Fewer_different_points_than_codewords_are_all_hit()
    {
        float[] points = [1, 2, 1, 2, 3, 4, 3, 4, 5, 6];

        var codewords = Fit(points, null, 2, 16);

        using var clusters = new Clusters(points, null, 2);
        clusters.Points.Assign(codewords);
        Assert.That(clusters.Points.Distances, Is.All.Zero);
        Assert.That(codewords, Has.All.Matches<float>(float.IsFinite));
    }

    private static (double Error, float[] Means) Naive(float[] points, float[]? weights, int d, float[] codewords)
    {
        var k = codewords.Length / d;
        var (moments, masses) = (new double[codewords.Length], new double[codewords.Length]);
        double error = 0;
        for (var p = 0; p < points.Length; p += d)
        {
            double Distance(int c) => Enumerable.Range(0, d).Sum(i => (weights?[p + i] ?? 1.0) * Math.Pow(points[p + i] - (double)codewords[c * d + i], 2));
            var nearest = Enumerable.Range(0, k).MinBy(Distance);
            error += Distance(nearest);
            for (var i = 0; i < d; i++)
            {
                moments[nearest * d + i] += (weights?[p + i] ?? 1.0) * points[p + i];
                masses[nearest * d + i] += weights?[p + i] ?? 1.0;
            }
        }

        return (error, [.. moments.Zip(masses, (moment, mass) => (float)(moment / mass))]);
    }

    private static float[] Fit(float[] points, float[]? weights, int d, int k, int threads = 2, ulong seed = 7)
    {
        using var clusters = new Clusters(points, weights, d, threads);
        return clusters.Points.Fit(k, seed);
    }

    /// <summary>Points with their backend and threads.</summary>
    private sealed class Clusters : IDisposable
    {
        private readonly CpuBackend _backend;
        private readonly Workers _workers;

        public Clusters(float[] points, float[]? weights, int d, int threads = 2)
        {
            _backend = CpuBackend.Create(new CpuOptions(threads));
            _workers = new Workers(threads);
            Points = new KMeans(_backend, _workers, points, weights, d);
        }

        public KMeans Points { get; }

        public void Dispose()
        {
            Points.Dispose();
            _workers.Dispose();
            _backend.Dispose();
        }
    }
}
