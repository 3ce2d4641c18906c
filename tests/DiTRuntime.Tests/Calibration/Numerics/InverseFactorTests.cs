using DiTRuntime.Calibration.Numerics;

namespace DiTRuntime.Tests.Calibration.Numerics;

internal sealed unsafe class InverseFactorTests
{
    // Below, at and beyond a band (64), a tile (4 and 16) and a vector (8).
    private static readonly int[] s_sizes = [1, 5, 16, 63, 64, 65, 130, 197];

    [TestCaseSource(nameof(s_sizes))]
    public void Its_square_is_the_inverse_of_the_damped_hessian(int size)
    {
        using var workers = new Workers(2);
        using var problem = new RandomInputs(workers, size, 3 * size + 7, seed: size);
        using var factor = InverseFactor.Of(workers, problem.Hessian, 0.01);

        var mean = Enumerable.Range(0, size).Average(i => problem.Expected[i, i]);
        Assert.That(factor.Damping, Is.EqualTo(0.01 * mean).Within(1e-6 * mean));
        var damped = (double[,])problem.Expected.Clone();
        for (var i = 0; i < size; i++) damped[i, i] += factor.Damping;
        var upper = NaiveGptq.UpperFactorOfInverse(damped);
        var largest = upper.Cast<double>().Max(Math.Abs);
        for (var i = 0; i < size; i++)
            for (var j = 0; j < size; j++)
                Assert.That(factor.Values.Row(i)[j], Is.EqualTo(upper[i, j]).Within(2e-5 * largest), $"[{i},{j}]");
    }

    [Test]
    public void Is_the_same_on_any_number_of_threads()
    {
        float[] Factor(int threads)
        {
            using var workers = new Workers(threads);
            using var problem = new RandomInputs(workers, 150, 1500, seed: 1);
            using var factor = InverseFactor.Of(workers, problem.Hessian, 0.01);
            return new Span<float>(factor.Values.Row(0), 150 * 150).ToArray();
        }

        var one = Factor(1);

        Assert.That(Factor(2), Is.EqualTo(one));
        Assert.That(Factor(3), Is.EqualTo(one));
    }

    [Test]
    public void Untouched_columns_are_dead_and_stand_alone()
    {
        using var workers = new Workers(2);
        using var problem = new RandomInputs(workers, 40, 100, seed: 2, deadColumn: 17);
        using var factor = InverseFactor.Of(workers, problem.Hessian, 0.01);

        Assert.That(Enumerable.Range(0, 40).Where(factor.IsDead), Is.EqualTo(new[] { 17 }));
        Assert.That(factor.Values.Row(17)[17], Is.EqualTo(1 / Math.Sqrt(1 + factor.Damping)).Within(1e-6));
        for (var j = 18; j < 40; j++) Assert.That(factor.Values.Row(17)[j], Is.Zero);
    }

    [Test]
    public void Fewer_inputs_than_columns_are_made_up_for_by_damping()
    {
        using var workers = new Workers(2);
        using var problem = new RandomInputs(workers, 100, 5, seed: 3);
        using var factor = InverseFactor.Of(workers, problem.Hessian, 0.01);

        for (var i = 0; i < 100; i++) Assert.That(factor.Values.Row(i)[i], Is.GreaterThan(0).And.LessThan(1e4f));
    }
}
