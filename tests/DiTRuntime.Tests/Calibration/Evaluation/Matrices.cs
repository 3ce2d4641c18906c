namespace DiTRuntime.Tests.Calibration.Evaluation;

/// <summary>Small matrices and the obvious operations on them.</summary>
internal static class Matrices
{
    public static double[] Identity(int n) => Diagonal([.. Enumerable.Repeat(1.0, n)]);

    public static double[] Diagonal(params double[] values)
    {
        var matrix = new double[values.Length * values.Length];
        for (var i = 0; i < values.Length; i++) matrix[i * (values.Length + 1)] = values[i];
        return matrix;
    }

    public static double[] Symmetric(int n, int seed)
    {
        var random = new Random(seed);
        var matrix = new double[n * n];
        for (var i = 0; i < n; i++)
            for (var j = 0; j <= i; j++) matrix[i * n + j] = matrix[j * n + i] = random.NextDouble() - 0.5;
        return matrix;
    }

    /// <summary>A positive semidefinite matrix of a rank.</summary>
    public static double[] Covariance(int n, int rank, int seed)
    {
        var random = new Random(seed);
        var factors = Enumerable.Range(0, n * rank).Select(_ => random.NextDouble() - 0.5).ToArray();
        var matrix = new double[n * n];
        for (var i = 0; i < n; i++)
            for (var j = 0; j < n; j++)
                for (var k = 0; k < rank; k++) matrix[i * n + j] += factors[i * rank + k] * factors[j * rank + k] / rank;
        return matrix;
    }

    public static double[] Times(double[] a, double[] b, int n)
    {
        var c = new double[n * n];
        for (var i = 0; i < n; i++)
            for (var k = 0; k < n; k++)
                for (var j = 0; j < n; j++) c[i * n + j] += a[i * n + k] * b[k * n + j];
        return c;
    }

    public static double[] Transposed(double[] a, int n) => [.. Enumerable.Range(0, n * n).Select(i => a[i % n * n + i / n])];

    /// <summary>Σ value·row rowᵀ.</summary>
    public static double[] Rebuild(double[] rows, double[] values, int n)
    {
        var scaled = rows.Select((element, i) => element * values[i / n]).ToArray();
        return Times(Transposed(rows, n), scaled, n);
    }

    public static double Difference(double[] a, double[] b) => a.Zip(b, (x, y) => Math.Abs(x - y)).Max();
}
