using DiTRuntime.Calibration.Numerics;

namespace DiTRuntime.Tests.Calibration.Numerics;

internal sealed unsafe class HessianTests
{
    // Chunks of 512 inputs, panels of 48 columns, tiles of 192 rows: below, at and beyond.
    [TestCase(7, 20)]
    [TestCase(48, 512)]
    [TestCase(49, 513)]
    [TestCase(250, 1300)]
    public void Is_twice_the_mean_outer_product(int size, int count)
    {
        using var workers = new Workers(2);
        using var problem = new RandomInputs(workers, size, count, seed: 5);

        Assert.That(problem.Hessian.Count, Is.EqualTo(count));
        for (var i = 0; i < size; i++)
            for (var j = 0; j < size; j++)
                Assert.That(problem.Hessian[i, j], Is.EqualTo(problem.Expected[i, j]).Within(1e-5), $"[{i},{j}]");
    }

    [Test]
    public void Is_the_same_on_any_number_of_threads()
    {
        double[] Sums(int threads)
        {
            using var workers = new Workers(threads);
            using var problem = new RandomInputs(workers, 200, 1100, seed: 6);
            return [.. Enumerable.Range(0, 200 * 200).Select(i => problem.Hessian[i / 200, i % 200])];
        }

        var one = Sums(1);

        Assert.That(Sums(2), Is.EqualTo(one));
        Assert.That(Sums(3), Is.EqualTo(one));
    }

    [Test]
    public void Quadratic_form_weighs_a_change_by_it()
    {
        using var workers = new Workers(2);
        using var problem = new RandomInputs(workers, 60, 300, seed: 7);
        var h = new float[60 * 60];
        var d = new float[5 * 60];
        var random = new Random(8);
        foreach (ref var value in d.AsSpan()) value = random.NextSingle() - 0.5f;
        double expected = 0;
        for (var row = 0; row < 5; row++)
            for (var i = 0; i < 60; i++)
                for (var j = 0; j < 60; j++)
                    expected += d[row * 60 + i] * problem.Expected[i, j] * d[row * 60 + j];

        double found;
        fixed (float* hp = h)
        fixed (float* dp = d)
        {
            problem.Hessian.CopyTo(hp);
            found = MatrixProduct.QuadraticForm(workers, new Matrix(dp, 5, 60, 60), new Matrix(hp, 60, 60, 60));
        }

        Assert.That(found, Is.EqualTo(expected).Within(1e-5 * expected));
    }
}
