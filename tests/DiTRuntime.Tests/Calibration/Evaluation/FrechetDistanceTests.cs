using DiTRuntime.Calibration.Evaluation;

namespace DiTRuntime.Tests.Calibration.Evaluation;

public sealed class FrechetDistanceTests
{
    [Test]
    public void Diagonal_covariances_have_a_closed_form()
    {
        var first = new FeatureStatistics([1, 2, 3], Matrices.Diagonal(4, 9, 0));
        var second = new FeatureStatistics([1, 0, 3.5], Matrices.Diagonal(1, 16, 0.25));
        // |Δμ|² + Σ (σ₁ − σ₂)²
        const double expected = 4 + 0.25 + 1 + 1 + 0.25;
        Assert.That(FrechetDistance.Between(first, second), Is.EqualTo(expected).Within(1e-12));
    }

    [Test]
    public void Covariances_of_order_2_have_a_closed_form()
    {
        double[] a = [2, 0.5, 0.5, 1], b = [1, -0.3, -0.3, 3];
        // tr √M of a 2×2 matrix is √(tr M + 2√det M).
        var trace = a[0] * b[0] + 2 * a[1] * b[1] + a[3] * b[3];
        var determinant = (a[0] * a[3] - a[1] * a[1]) * (b[0] * b[3] - b[1] * b[1]);
        var expected = 0.5 * 0.5 + a[0] + a[3] + b[0] + b[3] - 2 * Math.Sqrt(trace + 2 * Math.Sqrt(determinant));
        Assert.That(FrechetDistance.Between(new FeatureStatistics([0, 0], a), new FeatureStatistics([0.5, 0], b)), Is.EqualTo(expected).Within(1e-12));
    }

    [Test]
    public void Agrees_with_an_iteration_for_the_root_of_the_product_itself()
    {
        const int n = 24;
        double[] a = Matrices.Covariance(n, 40, seed: 1), b = Matrices.Covariance(n, 50, seed: 2);
        Assert.That(FrechetDistance.TraceOfRoot(a, b, n), Is.EqualTo(TraceByDenmanBeavers(Matrices.Times(a, b, n), n)).Within(1e-9));
    }

    [Test]
    public void A_set_is_at_no_distance_from_itself_even_with_fewer_images_than_features()
    {
        var random = new Random(3);
        var features = Enumerable.Range(0, 9 * 32).Select(_ => (float)random.NextDouble()).ToArray();
        var statistics = FeatureStatistics.Of(features, 32);
        // Eigenvalues that should be 0 come out as some 1e-17, and their roots as 1e-8.
        Assert.That(FrechetDistance.Between(statistics, statistics), Is.EqualTo(0).Within(1e-6));
    }

    [Test]
    public void Other_features_are_refused() => Assert.That(
        () => FrechetDistance.Between(new FeatureStatistics([0], [1]), new FeatureStatistics([0, 0], [1, 0, 0, 1])),
        Throws.TypeOf<UsageException>().With.Message.Contains("1 and of 2 features"));

    [TestCase(2, 5)]
    [TestCase(1500, 13)]
    [TestCase(1025, 30)]
    public void Statistics_are_the_mean_and_the_covariance_over_n_minus_1(int count, int n)
    {
        var random = new Random(9);
        var features = Enumerable.Range(0, count * n).Select(i => (float)(random.NextDouble() * (i % n + 1) + 100)).ToArray();
        var statistics = FeatureStatistics.Of(features, n);
        for (var i = 0; i < n; i++)
        {
            Assert.That(statistics.Mean[i], Is.EqualTo(Column(i).Average()).Within(1e-9));
            for (var j = 0; j < n; j++)
            {
                double meanI = Column(i).Average(), meanJ = Column(j).Average();
                var expected = Column(i).Zip(Column(j), (a, b) => (a - meanI) * (b - meanJ)).Sum() / (count - 1);
                Assert.That(statistics.Covariance[i * n + j], Is.EqualTo(expected).Within(1e-9));
            }
        }

        double[] Column(int f) => [.. Enumerable.Range(0, count).Select(row => (double)features[row * n + f])];
    }

    [Test]
    public void One_image_has_no_covariance() =>
        Assert.That(() => FeatureStatistics.Of(new float[4], 4), Throws.TypeOf<UsageException>().With.Message.Contains("two images"));

    /// <summary>tr √M by the coupled Newton iteration Y ← (Y + Z⁻¹)/2, Z ← (Z + Y⁻¹)/2.</summary>
    private static double TraceByDenmanBeavers(double[] matrix, int n)
    {
        double[] y = matrix, z = Matrices.Identity(n);
        for (var i = 0; i < 60; i++)
        {
            double[] inverseY = Inverse(y, n), inverseZ = Inverse(z, n);
            y = [.. y.Zip(inverseZ, (a, b) => (a + b) / 2)];
            z = [.. z.Zip(inverseY, (a, b) => (a + b) / 2)];
        }

        return Enumerable.Range(0, n).Sum(i => y[i * (n + 1)]);
    }

    private static double[] Inverse(double[] matrix, int n)
    {
        double[] a = [.. matrix], b = Matrices.Identity(n);
        for (var column = 0; column < n; column++)
        {
            var pivot = Enumerable.Range(column, n - column).MaxBy(row => Math.Abs(a[row * n + column]));
            for (var j = 0; j < n; j++)
            {
                (a[pivot * n + j], a[column * n + j]) = (a[column * n + j], a[pivot * n + j]);
                (b[pivot * n + j], b[column * n + j]) = (b[column * n + j], b[pivot * n + j]);
            }

            var scale = a[column * n + column];
            for (var j = 0; j < n; j++) (a[column * n + j], b[column * n + j]) = (a[column * n + j] / scale, b[column * n + j] / scale);
            for (var row = 0; row < n; row++)
            {
                var factor = a[row * n + column];
                if (row == column || factor == 0) continue;
                for (var j = 0; j < n; j++)
                {
                    a[row * n + j] -= factor * a[column * n + j];
                    b[row * n + j] -= factor * b[column * n + j];
                }
            }
        }

        return b;
    }
}
