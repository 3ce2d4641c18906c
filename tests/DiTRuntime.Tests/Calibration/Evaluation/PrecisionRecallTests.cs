using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Evaluation;

namespace DiTRuntime.Tests.Calibration.Evaluation;

public sealed class PrecisionRecallTests
{
    private readonly CpuBackend _backend = CpuBackend.Create(new CpuOptions(2));

    [OneTimeTearDown]
    public void EndBackend() => _backend.Dispose();

    [Test]
    public void The_same_set_is_found_whole()
    {
        var points = Points(50, 8, seed: 1, scale: 1);
        Assert.That(PrecisionRecall.Of(points, points, 8, _backend), Is.EqualTo(new PrecisionRecall(1, 1)));
    }

    [Test]
    public void Sets_far_apart_find_nothing()
    {
        var far = Points(50, 8, seed: 2, scale: 1).Select(v => v + 50).ToArray();
        Assert.That(PrecisionRecall.Of(Points(50, 8, seed: 1, scale: 1), far, 8, _backend), Is.EqualTo(new PrecisionRecall(0, 0)));
    }

    [Test]
    public void A_radius_reaches_to_the_third_neighbour_and_no_further()
    {
        // On a line: the ball of 0 reaches to 3, that of 3 to 0; squares up to 36 are exact in half precision.
        float[] reference = [0, 1, 2, 3], samples = [-4, -3, 6, 7];
        Assert.That(PrecisionRecall.Of(reference, samples, 1, _backend), Is.EqualTo(new PrecisionRecall(0.5, 1)));
    }

    [TestCase(1f)]
    [TestCase(300f)]
    public void Agrees_with_the_definition(float scale)
    {
        // Beyond 65504 half precision overflows, and single takes over.
        float[] reference = Points(60, 3, seed: 3, scale), samples = Points(45, 3, seed: 4, 1.2f * scale);
        var isHalf = scale == 1;
        Assert.That(PrecisionRecall.Of(reference, samples, 3, _backend), Is.EqualTo(Obvious(reference, samples, 3, isHalf)));
        Assert.That(PrecisionRecall.Of(reference, samples, 3, _backend).Precision, Is.InRange(0.2, 0.99));
    }

    [Test]
    public void Three_images_are_too_few() =>
        Assert.That(() => PrecisionRecall.Of(new float[6], new float[20], 2, _backend), Throws.TypeOf<UsageException>().With.Message.Contains("there are 3"));

    private static PrecisionRecall Obvious(float[] reference, float[] samples, int n, bool half)
    {
        float[][] a = [.. reference.Chunk(n)], b = [.. samples.Chunk(n)];
        float[] radiiA = Radii(a), radiiB = Radii(b);
        return new PrecisionRecall(
            b.Count(s => a.Where((r, i) => Distance(r, s) <= radiiA[i]).Any()) / (double)b.Length,
            a.Count(r => b.Where((s, i) => Distance(r, s) <= radiiB[i]).Any()) / (double)a.Length);

        float[] Radii(float[][] points) => [.. points.Select(p => points.Select(q => Distance(p, q)).Order().ElementAt(3))];

        float Distance(float[] u, float[] v)
        {
            if (!half) return MathF.Max(u.Sum(x => x * x) - 2 * u.Zip(v, (x, y) => x * y).Sum() + v.Sum(x => x * x), 0);
            float[] s = [.. u.Select(Round)], t = [.. v.Select(Round)];
            return MathF.Max(Round(Round(Norm(s) - Round(2 * Round(s.Zip(t, (x, y) => x * y).Sum()))) + Norm(t)), 0);
        }

        static float Norm(float[] v) => Round(v.Sum(x => Round(x * x)));
        static float Round(float v) => (float)(Half)v;
    }

    private static float[] Points(int count, int n, int seed, float scale)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count * n).Select(_ => (float)(random.NextDouble() - 0.5) * 2 * scale)];
    }
}
