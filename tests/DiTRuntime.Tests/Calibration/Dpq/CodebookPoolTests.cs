using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Dpq;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Calibration.Codebooks;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Calibration.Dpq;

internal sealed class CodebookPoolTests
{
    // Blocks of 1024 centroids: within one, and over several.
    [TestCase(300, 40, 4)]
    [TestCase(2500, 130, 8)]
    [TestCase(1024, 1023, 2)]
    public void Is_the_greedy_choice_at_the_largest_threshold_that_fills_it(int count, int poolSize, int d)
    {
        var centroids = Gaussian.Values(count * d, seed: 3);
        var random = new Random(4);
        long[] importance = [.. Enumerable.Range(0, count).Select(_ => random.NextInt64(poolSize == count - 1 ? 1 : 0, 50))];
        using var backend = CpuBackend.Create(new CpuOptions(2));

        var pool = CodebookPool.Choose(new NearestSearch((IClusteringBackend)backend, d), centroids, importance, poolSize);

        Assert.That(pool.Distinct().Count(), Is.EqualTo(poolSize));
        // Where a threshold fills the pool with used centroids, the choice is that of the definition at some threshold, and no much larger one fills it.
        var threshold = SmallestDistance(centroids, pool, d);
        Assert.That(pool, Is.EqualTo(Naive(centroids, importance, threshold * 0.9999, poolSize, d)));
        Assert.That(Naive(centroids, importance, threshold * 1.03, poolSize, d), Has.Count.LessThan(poolSize));
    }

    [Test]
    public void What_is_used_comes_before_what_is_not_and_equals_fill_up()
    {
        float[] centroids = [1, 1, 2, 2, 1, 1, 5, 5, 1, 1];
        using var backend = CpuBackend.Create(new CpuOptions(1));
        var search = new NearestSearch((IClusteringBackend)backend, 2);

        Assert.That(CodebookPool.Choose(search, centroids, [9, 4, 8, 0, 7], 2), Is.EqualTo(new[] { 0, 1 }));
        Assert.That(CodebookPool.Choose(search, centroids, [9, 4, 8, 0, 7], 4), Is.EqualTo(new[] { 0, 1, 2, 4 }));
        Assert.That(CodebookPool.Choose(search, centroids, [9, 4, 8, 0, 7], 5), Is.EqualTo(new[] { 0, 1, 2, 4, 3 }));
    }

    [TestCase(false)]
    [TestCase(true)]
    public void Fitting_never_raises_the_error_and_is_the_same_on_any_number_of_threads(bool scales)
    {
        var raw = new CodebookFormat(16, 4) { IsProduct = true, HasRowScales = scales };
        var format = raw with { PoolSize = 60 };
        CodebookLayer? known = null;
        foreach (var threads in new[] { 1, 3 })
        {
            using var workers = new Workers(threads);
            using var backend = CpuBackend.Create(new CpuOptions(threads));
            using var problem = new OutputProblem(workers, 150, 48, raw);
            var fit = new PoolFit(workers, new NearestSearch((IClusteringBackend)backend, 4), problem.Weights, problem.Moments);
            var last = double.PositiveInfinity;
            CodebookLayer? pooled = null;
            foreach (var iterations in new[] { 0, 1, 2, 5, 9 })
            {
                pooled = fit.Pool(problem.Layer, format, iterations);
                var error = fit.Error(pooled);
                Assert.That(error, Is.LessThanOrEqualTo(last * (1 + 1e-6)), $"{iterations} iterations");
                last = error;
            }

            Assert.That(known?.Vectors ?? pooled!.Vectors, Is.EqualTo(pooled!.Vectors));
            Assert.That(known?.Codes ?? pooled.Codes, Is.EqualTo(pooled.Codes));
            Assert.That(known?.Table ?? pooled.Table, Is.EqualTo(pooled.Table));
            known = pooled;
            var back = CodebookLayer.From(pooled.ToWeight());
            Assert.That(back.Codes, Is.EqualTo(pooled.Codes));
            Assert.That(back.Table, Is.EqualTo(pooled.Table));
            Assert.That(back.Vectors, Is.EqualTo(pooled.Vectors).Within(1e-3f * 5));
        }
    }

    private static List<int> Naive(float[] centroids, long[] importance, double threshold, int poolSize, int d)
    {
        var pool = new List<int>();
        foreach (var i in Enumerable.Range(0, importance.Length).OrderByDescending(i => importance[i]))
            if (pool.Count < poolSize && importance[i] > 0 && pool.TrueForAll(p => Distance(centroids, i, p, d) > threshold)) pool.Add(i);
        return pool;
    }

    private static double SmallestDistance(float[] centroids, int[] pool, int d) =>
        pool.SelectMany((a, index) => pool.Take(index).Select(b => Distance(centroids, a, b, d))).Min();

    private static double Distance(float[] centroids, int a, int b, int d) =>
        Math.Sqrt(Enumerable.Range(0, d).Sum(i => Math.Pow((double)centroids[a * d + i] - centroids[b * d + i], 2)) / d);
}
