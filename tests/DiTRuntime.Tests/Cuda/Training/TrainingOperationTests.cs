using DiTRuntime.Backends;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Cuda.Training;

/// <summary>Norm, gate, GELU, biases and the squared error against the formulas in double precision.</summary>
/// <remarks>
/// Tolerance: values are of size 1 and a few roundings of 2^-24 and approximations of 2^-22 lead to each; 4e-6 of value and scale covers them, and sums over n values
/// with terms of size 3 add n/2^24 times that.
/// </remarks>
[Category(TestDevice.Category)]
internal sealed class TrainingOperationTests
{
    private const int Samples = 2, Chunks = 4;
    private const float Epsilon = 1e-6f;

    /// <summary>H and T: a part of a warp, one and a bit, rows that straddle 128; tokens on every side of the 8 and 16 rows of a block.</summary>
    private static readonly int[][] s_shapes = [[24, 1], [36, 17], [100, 5], [132, 64]];

    [TestCaseSource(nameof(s_shapes))]
    public void Norms_are_modulated(int hidden, int tokens)
    {
        using var scene = new TrainingScene();
        var (x, values) = Tokens(scene, hidden, tokens);
        var (modulation, table) = scene.Normal(2, Samples, Chunks * hidden);
        var y = scene.Of(new float[values.Length], Samples, tokens, hidden);
        scene.Backend.NormModulateForward(x, modulation, 1, Epsilon, y);

        var expected = new double[values.Length];
        for (var row = 0; row < Samples * tokens; row++)
        {
            var (normed, _) = Norm(values.AsSpan(row * hidden, hidden));
            for (var c = 0; c < hidden; c++)
                expected[row * hidden + c] = normed[c] * (1.0 + table[At(row / tokens, 2, c, hidden)]) + table[At(row / tokens, 1, c, hidden)];
        }

        Check(scene.Read(y), expected, 1e-5);
    }

    [TestCaseSource(nameof(s_shapes))]
    public void Norms_pass_gradients_back(int hidden, int tokens)
    {
        using var scene = new TrainingScene();
        var (x, values) = Tokens(scene, hidden, tokens);
        var (modulation, table) = scene.Normal(2, Samples, Chunks * hidden);
        var (outputGradient, dy) = scene.Normal(3, Samples, tokens, hidden);
        var (inputGradient, residual) = scene.Normal(4, Samples, tokens, hidden);
        var (modulationGradient, oldTable) = scene.Normal(5, Samples, Chunks * hidden);
        scene.Backend.NormModulateGradient(outputGradient, x, modulation, 1, Epsilon, inputGradient, modulationGradient);

        var expected = Array.ConvertAll(residual, v => (double)v);
        var expectedTable = Array.ConvertAll(oldTable, v => (double)v);
        for (var sample = 0; sample < Samples; sample++) Array.Clear(expectedTable, At(sample, 1, 0, hidden), 2 * hidden);
        for (var row = 0; row < Samples * tokens; row++)
        {
            var (normed, deviation) = Norm(values.AsSpan(row * hidden, hidden));
            var g = new double[hidden];
            for (var c = 0; c < hidden; c++)
            {
                g[c] = dy[row * hidden + c] * (1.0 + table[At(row / tokens, 2, c, hidden)]);
                expectedTable[At(row / tokens, 1, c, hidden)] += dy[row * hidden + c];
                expectedTable[At(row / tokens, 2, c, hidden)] += dy[row * hidden + c] * normed[c];
            }

            var (mean, slope) = (g.Average(), g.Zip(normed, (a, b) => a * b).Average());
            for (var c = 0; c < hidden; c++) expected[row * hidden + c] += (g[c] - mean - normed[c] * slope) / deviation;
        }

        Check(scene.Read(inputGradient), expected, 1e-5);
        Check(scene.Read(modulationGradient), expectedTable, 1e-5 * Math.Sqrt(tokens));
    }

    [TestCaseSource(nameof(s_shapes))]
    public void Gates_scale_a_branch_and_its_gradient(int hidden, int tokens)
    {
        using var scene = new TrainingScene();
        var (y, values) = scene.Normal(1, Samples, tokens, hidden);
        var (modulation, table) = scene.Normal(2, Samples, Chunks * hidden);
        var (x, residual) = scene.Normal(3, Samples, tokens, hidden);
        var (sumGradient, d) = scene.Normal(4, Samples, tokens, hidden);
        var inputGradient = scene.Of(new float[values.Length], Samples, tokens, hidden);
        var (modulationGradient, oldTable) = scene.Normal(5, Samples, Chunks * hidden);
        scene.Backend.GateForward(y, modulation, 2, x);
        scene.Backend.GateGradient(sumGradient, y, modulation, 2, inputGradient, modulationGradient);

        var (sum, dy) = (new double[values.Length], new double[values.Length]);
        var expectedTable = Array.ConvertAll(oldTable, v => (double)v);
        for (var sample = 0; sample < Samples; sample++) Array.Clear(expectedTable, At(sample, 2, 0, hidden), hidden);
        for (var i = 0; i < values.Length; i++)
        {
            var at = At(i / hidden / tokens, 2, i % hidden, hidden);
            sum[i] = residual[i] + (double)table[at] * values[i];
            dy[i] = (double)table[at] * d[i];
            expectedTable[at] += (double)d[i] * values[i];
        }

        Check(scene.Read(x), sum, 4e-6);
        Check(scene.Read(inputGradient), dy, 4e-6);
        Check(scene.Read(modulationGradient), expectedTable, 1e-5 * Math.Sqrt(tokens));
    }

    [Test]
    public void Gelu_and_its_slope_hold_from_end_to_end()
    {
        using var scene = new TrainingScene();
        // Up to where the sigmoid's exponent is cut off, and values in between.
        float[] values = [0, -0f, 1e-20f, 40, -40, 6, -6, 1e4f, -1e4f, .. Gaussian.Values(23 * 12 - 9, 1).Select(v => 3 * v)];
        var x = scene.Of(values, 1, 23, 12);
        var y = scene.Of(new float[values.Length], 1, 23, 12);
        var (gradient, d) = scene.Normal(2, 1, 23, 12);
        scene.Backend.GeluForward(x, y);
        scene.Backend.GeluGradient(gradient, x, gradient);

        var (expected, slopes) = (new double[values.Length], new double[values.Length]);
        for (var i = 0; i < values.Length; i++)
        {
            var v = (double)values[i];
            var u = Math.Sqrt(2 / Math.PI) * (v + 0.044715 * v * v * v);
            var tanh = Math.Tanh(u);
            expected[i] = v * (1 + tanh) / 2;
            var rest = 1 / Math.Pow(Math.Cosh(Math.Clamp(u, -300, 300)), 2);
            slopes[i] = d[i] * ((1 + tanh) / 2 + v / 2 * rest * Math.Sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * v * v));
        }

        Check(scene.Read(y), expected, 4e-6);
        Check(scene.Read(gradient), slopes, 4e-6);
    }

    [TestCase(1, 24)]
    [TestCase(17, 36)]
    [TestCase(130, 100)]
    public void Biases_are_added_and_their_gradients_are_sums_of_rows(int rows, int width)
    {
        using var scene = new TrainingScene();
        var (y, values) = scene.Normal(1, rows, width);
        var (bias, b) = scene.Normal(2, width);
        var biasGradient = scene.Of(new float[width], width);
        scene.Backend.BiasGradient(y, biasGradient);
        scene.Backend.AddBias(bias, y);

        Check(scene.Read(biasGradient), [.. Enumerable.Range(0, width).Select(c => Enumerable.Range(0, rows).Sum(r => (double)values[r * width + c]))], 1e-6 * Math.Sqrt(rows));
        Assert.That(scene.Read(y), Is.EqualTo(values.Select((v, i) => v + b[i % width])), "one addition");
    }

    // A value, a block's worth but one, a block's worth and one, several blocks.
    [TestCase(1)]
    [TestCase(4095)]
    [TestCase(4097)]
    [TestCase(10_000)]
    public void Squared_errors_and_their_gradients_add_up(int count)
    {
        using var scene = new TrainingScene();
        var (x, values) = scene.Normal(1, count);
        var (target, aims) = scene.Normal(2, count);
        var (gradient, old) = scene.Normal(3, count);
        var sum = scene.Backend.SquaredErrorGradient(x, target, 0.75f, gradient);

        Assert.That(sum, Is.EqualTo(values.Zip(aims, (v, t) => Math.Pow((double)v - t, 2)).Sum()).Within(1e-4).Percent);
        Check(scene.Read(gradient), [.. Enumerable.Range(0, count).Select(i => old[i] + 1.5 * ((double)values[i] - aims[i]))], 1e-6);
    }

    [Test]
    public void Tensors_are_copied_and_cleared_and_halves_are_refused()
    {
        using var scene = new TrainingScene();
        var (from, values) = scene.Normal(1, 3, 7);
        var to = scene.Of(new float[21], 21);
        scene.Backend.Copy(from, to);
        scene.Backend.Clear(from);
        using var halves = scene.Backend.AllocateActivations(null, 3, 7);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(scene.Read(to), Is.EqualTo(values));
            Assert.That(scene.Read(from), Is.All.Zero);
            Assert.That(() => scene.Backend.Clear(halves), Throws.ArgumentException.With.Message.Contains("plain values"));
            Assert.That(() => scene.Backend.AddBias(to, from), Throws.ArgumentException.With.Message.Contains("bias"));
        }
    }

    [Test]
    public void The_same_gradients_come_again()
    {
        float[][] Run()
        {
            using var scene = new TrainingScene();
            var (x, _) = Tokens(scene, 100, 17);
            var (modulation, _) = scene.Normal(2, Samples, Chunks * 100);
            var (dy, _) = scene.Normal(3, Samples, 17, 100);
            var (dx, _) = scene.Normal(4, Samples, 17, 100);
            var (table, _) = scene.Normal(5, Samples, Chunks * 100);
            scene.Backend.NormModulateGradient(dy, x, modulation, 0, Epsilon, dx, table);
            scene.Backend.GateGradient(dy, x, modulation, 2, dx, table);
            return [scene.Read(dx), scene.Read(table)];
        }

        var first = Run();
        Assert.That(Run(), Is.EqualTo(first));
    }

    private static int At(int sample, int chunk, int column, int hidden) => (sample * Chunks + chunk) * hidden + column;

    /// <summary>Tokens with a mean.</summary>
    private static (Tensor Tensor, float[] Values) Tokens(TrainingScene scene, int hidden, int tokens)
    {
        var values = Array.ConvertAll(Gaussian.Values(Samples * tokens * hidden, 1), v => 1 + 2 * v);
        return (scene.Of(values, Samples, tokens, hidden), values);
    }

    private static (double[] Normed, double Deviation) Norm(ReadOnlySpan<float> row)
    {
        var values = row.ToArray().Select(v => (double)v).ToArray();
        var mean = values.Average();
        var deviation = Math.Sqrt(values.Average(v => (v - mean) * (v - mean)) + Epsilon);
        return (Array.ConvertAll(values, v => (v - mean) / deviation), deviation);
    }

    private static void Check(float[] actual, double[] expected, double tolerance)
    {
        for (var i = 0; i < expected.Length; i++) Assert.That(actual[i], Is.EqualTo(expected[i]).Within(tolerance * (1 + Math.Abs(expected[i]))), $"value {i}");
    }
}
