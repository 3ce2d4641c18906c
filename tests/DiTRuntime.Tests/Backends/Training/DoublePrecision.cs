namespace DiTRuntime.Tests.Backends.Training;

/// <summary>The forward operations of a DiT block as plain loops in fp64, written from the paper: what gradients are checked against by differences.</summary>
internal static class DoublePrecision
{
    public static double[] Of(float[] values) => Array.ConvertAll(values, v => (double)v);

    /// <summary>x [M, K] Wᵀ + b, W [N, K].</summary>
    public static double[] Linear(double[] x, double[] w, double[]? b, int m, int n, int k)
    {
        var y = new double[m * n];
        for (var i = 0; i < m; i++)
            for (var j = 0; j < n; j++)
            {
                var sum = b?[j] ?? 0;
                for (var l = 0; l < k; l++) sum += x[i * k + l] * w[j * k + l];
                y[i * n + j] = sum;
            }

        return y;
    }

    /// <summary>LayerNorm(x)·(1 + scale) + shift; x [B, T, H], modulation [B, n·H].</summary>
    public static double[] NormModulate(double[] x, double[] modulation, int shiftChunk, double epsilon, int b, int t, int h)
    {
        var y = new double[x.Length];
        var stride = modulation.Length / b;
        for (var row = 0; row < b * t; row++)
        {
            double mean = 0, variance = 0;
            for (var i = 0; i < h; i++) mean += x[row * h + i] / h;
            for (var i = 0; i < h; i++) variance += Math.Pow(x[row * h + i] - mean, 2) / h;
            for (var i = 0; i < h; i++)
            {
                var shift = row / t * stride + shiftChunk * h + i;
                y[row * h + i] = (x[row * h + i] - mean) / Math.Sqrt(variance + epsilon) * (1 + modulation[shift + h]) + modulation[shift];
            }
        }

        return y;
    }

    /// <summary>softmax(q kᵀ/√D) v; qkv [B, T, 3, heads, D].</summary>
    public static double[] Attention(double[] qkv, int heads, int b, int t, int h)
    {
        var d = h / heads;
        var y = new double[b * t * h];
        var p = new double[t];
        for (var sample = 0; sample < b; sample++)
            for (var head = 0; head < heads; head++)
                for (var i = 0; i < t; i++)
                {
                    for (var j = 0; j < t; j++)
                    {
                        double score = 0;
                        for (var c = 0; c < d; c++) score += At(sample, i, 0, head, c) * At(sample, j, 1, head, c);
                        p[j] = score / Math.Sqrt(d);
                    }

                    var max = p.Max();
                    var total = p.Sum(s => Math.Exp(s - max));
                    for (var j = 0; j < t; j++)
                        for (var c = 0; c < d; c++)
                            y[(sample * t + i) * h + head * d + c] += Math.Exp(p[j] - max) / total * At(sample, j, 2, head, c);
                }

        return y;

        double At(int sample, int token, int part, int head, int c) => qkv[(sample * t + token) * 3 * h + part * h + head * d + c];
    }

    public static double[] Gelu(double[] x) => Array.ConvertAll(x, v => 0.5 * v * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (v + 0.044715 * v * v * v))));

    /// <summary>x + gate·y; modulation [B, n·H].</summary>
    public static double[] Gate(double[] x, double[] y, double[] modulation, int gateChunk, int b, int t, int h)
    {
        var sum = new double[x.Length];
        var stride = modulation.Length / b;
        for (var i = 0; i < x.Length; i++) sum[i] = x[i] + modulation[i / (t * h) * stride + gateChunk * h + i % h] * y[i];
        return sum;
    }

    public static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();

    /// <summary>∂f by every stride-th of the values that f reads, by central differences.</summary>
    public static double[] Differences(double[] values, Func<double> f, int stride = 1)
    {
        // Truncation is of the order of the step squared, rounding of 1e-16 over the step: both far below fp32.
        const double step = 1e-5;
        var result = new double[(values.Length + stride - 1) / stride];
        for (var i = 0; i < result.Length; i++)
        {
            var kept = values[i * stride];
            values[i * stride] = kept + step;
            var above = f();
            values[i * stride] = kept - step;
            var below = f();
            values[i * stride] = kept;
            result[i] = (above - below) / (2 * step);
        }

        return result;
    }

    /// <summary>‖actual − expected‖₂ / ‖expected‖₂ over every stride-th actual value.</summary>
    public static double Error(float[] actual, double[] expected, int stride = 1)
    {
        Assert.That(expected, Has.Length.EqualTo((actual.Length + stride - 1) / stride));
        double error = 0, norm = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            error += Math.Pow(actual[i * stride] - expected[i], 2);
            norm += Math.Pow(expected[i], 2);
        }

        return double.IsFinite(error) ? Math.Sqrt(error / Math.Max(norm, 1e-30)) : double.PositiveInfinity;
    }
}
