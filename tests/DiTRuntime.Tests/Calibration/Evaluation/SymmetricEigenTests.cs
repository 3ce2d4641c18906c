using DiTRuntime.Calibration.Evaluation;

namespace DiTRuntime.Tests.Calibration.Evaluation;

public sealed class SymmetricEigenTests
{
    [Test]
    public void A_known_2x2_has_its_values()
    {
        var eigen = SymmetricEigen.Decompose([2, 1, 1, 2], 2);
        Assert.That(eigen.Values.ToArray().Order(), Is.EqualTo(new double[] { 1, 3 }).Within(1e-14));
    }

    // Orders around the strips, the tiles of a product, and where threads begin to share.
    [TestCase(1)]
    [TestCase(3)]
    [TestCase(5)]
    [TestCase(63)]
    [TestCase(65)]
    [TestCase(300)]
    public void Vectors_are_orthonormal_and_rebuild_the_matrix(int n)
    {
        var matrix = Matrices.Symmetric(n, seed: n);
        var eigen = SymmetricEigen.Decompose(matrix, n);
        double[] vectors = eigen.Vectors.ToArray(), values = eigen.Values.ToArray();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Matrices.Difference(Matrices.Rebuild(vectors, values, n), matrix), Is.LessThan(1e-13 * n));
            Assert.That(Matrices.Difference(Matrices.Rebuild(Matrices.Transposed(vectors, n), [.. Enumerable.Repeat(1.0, n)], n), Matrices.Identity(n)), Is.LessThan(1e-13 * n));
        }
    }

    [Test]
    public void Values_alone_are_the_same_values()
    {
        var matrix = Matrices.Symmetric(70, seed: 4);
        Assert.That(SymmetricEigen.ValuesOf(matrix, 70).Order(), Is.EqualTo(SymmetricEigen.Decompose(matrix, 70).Values.ToArray().Order()).Within(1e-12));
    }

    [Test]
    public void Equal_and_zero_eigenvalues_converge()
    {
        Assert.That(SymmetricEigen.ValuesOf(Matrices.Identity(40), 40), Is.All.EqualTo(1));
        Assert.That(SymmetricEigen.ValuesOf(new double[400], 20), Is.All.Zero);
        double[] ones = [.. Enumerable.Repeat(1.0, 900)];
        Assert.That(SymmetricEigen.ValuesOf(ones, 30).Order().Last(), Is.EqualTo(30).Within(1e-12));
    }

    [TestCase(20, 40)]
    [TestCase(270, 300)]
    [TestCase(300, 12)]
    public void A_square_root_squares_to_its_matrix_even_a_singular_one(int n, int rank)
    {
        var covariance = Matrices.Covariance(n, rank, seed: 7);
        var root = SymmetricEigen.SquareRoot(covariance, n);
        Assert.That(Matrices.Difference(Matrices.Times(root, root, n), covariance), Is.LessThan(1e-12 * n));
    }

    [Test]
    public void Threads_change_no_bit()
    {
        var matrix = Matrices.Symmetric(280, seed: 3);
        var first = SymmetricEigen.Decompose(matrix, 280).Vectors.ToArray();
        Assert.That(SymmetricEigen.Decompose(matrix, 280).Vectors.ToArray(), Is.EqualTo(first));
    }

    [Test]
    public void Numbers_that_are_not_finite_are_refused() =>
        Assert.That(() => SymmetricEigen.ValuesOf([1, double.NaN, double.NaN, 1], 2), Throws.ArgumentException);

    [Test, Explicit("half a minute: the order of Inception features")]
    public void A_root_of_order_2048_takes_less_than_a_minute()
    {
        var covariance = Matrices.Covariance(2048, 64, seed: 1);
        for (var i = 0; i < 2048; i++) covariance[i * 2049] += 0.01;
        var clock = System.Diagnostics.Stopwatch.StartNew();
        var root = SymmetricEigen.SquareRoot(covariance, 2048);
        TestContext.Out.WriteLine($"root {clock.Elapsed.TotalSeconds:F1} s");
        Assert.That(clock.Elapsed, Is.LessThan(TimeSpan.FromMinutes(1)));
        clock.Restart();
        FrechetDistance.TraceOfRoot(covariance, covariance, 2048);
        TestContext.Out.WriteLine($"distance {clock.Elapsed.TotalSeconds:F1} s");
        Assert.That(Matrices.Difference(DoubleProduct.Gram(root, 2048, 2048), covariance), Is.LessThan(1e-9));
    }
}
