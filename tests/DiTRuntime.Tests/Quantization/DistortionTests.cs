using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Quantization;

/// <summary>Mean squared errors on normal values: the codes lose what theory says they lose, and no more.</summary>
public sealed class DistortionTests
{
    private const int Count = 1 << 20;

    private static readonly float[] s_values = Gaussian.Values(Count, 7);

    /// <summary>The figures of Max (1960), which every scalar quantizer is measured against.</summary>
    [TestCase(1, 0.3634)]
    [TestCase(2, 0.1175)]
    [TestCase(3, 0.03455)]
    [TestCase(4, 0.00950)]
    public void The_optimal_scalar_quantizer_loses_what_the_literature_says(int bits, double expected)
    {
        var levels = LloydMax.Levels(1 << bits);
        Assert.That(s_values.Average(w => Math.Pow(w - LloydMax.Nearest(levels, w), 2)), Is.EqualTo(expected).Within(1).Percent);
    }

    /// <summary>
    /// A uniform quantizer of range ±r: the error inside is that of each cell, ∫(x − c)²φ, and outside that of the last level. The group quantizer of the
    /// same range must lose the same, to 1 %. (Ranges that cut off much are left out: the few values beyond them make the measurement itself uncertain.)
    /// </summary>
    [Test]
    public void The_group_quantizer_loses_what_a_uniform_quantizer_loses([Values(2, 3, 4, 5, 6, 8)] int bits, [Values(4f, 6f)] float range)
    {
        var (scale, zero) = GroupQuantizer.Range(-range, range, bits);
        var measured = s_values.Average(w => Math.Pow(w - GroupQuantizer.Dequantize(GroupQuantizer.Quantize(w, scale, zero, bits), scale, zero), 2));
        Assert.That(measured, Is.EqualTo(Uniform((double)scale, zero, (1 << bits) - 1)).Within(1).Percent);
    }

    [Test]
    public void Smaller_groups_and_more_bits_lose_less()
    {
        var last = double.PositiveInfinity;
        foreach (var (bits, group) in new[] { (2, 288), (2, 96), (2, 32), (3, 128), (3, 32), (4, 128), (4, 32), (6, 128), (8, 128) })
        {
            var error = MeanSquare(new GroupFormat(bits, group), RangeRule.MinMax);
            Assert.That(error, Is.LessThan(last), $"{bits} bits, groups of {group}");
            last = error;
        }
    }

    [Test]
    public void Searched_ranges_lose_less_than_full_ones([Values(2, 3, 4)] int bits) =>
        Assert.That(MeanSquare(new GroupFormat(bits, 128), RangeRule.LeastError), Is.LessThan(0.95 * MeanSquare(new GroupFormat(bits, 128), RangeRule.MinMax)));

    private static double MeanSquare(GroupFormat format, RangeRule rule)
    {
        const int K = 1152;
        const int Rows = 24;
        var codes = new byte[K];
        var scales = new Half[format.Grid(K).Count];
        var zeros = new byte[scales.Length];
        double sum = 0;
        for (var row = 0; row < Rows; row++)
        {
            var values = s_values.AsSpan(row * K, K);
            LayerQuantizer.QuantizeRow(values, format, rule, codes, scales, zeros);
            for (var i = 0; i < K; i++)
                sum += Math.Pow(values[i] - GroupQuantizer.Dequantize(codes[i], scales[i / format.GroupSize], zeros[i / format.GroupSize]), 2);
        }

        return sum / (Rows * K);
    }

    /// <summary>∫(x − level(x))²φ(x)dx by the midpoint rule.</summary>
    private static double Uniform(double scale, int zero, int maxCode)
    {
        const double Step = 1e-4;
        double sum = 0;
        for (var x = -8 + Step / 2; x < 8; x += Step)
        {
            var level = scale * (Math.Clamp(Math.Round(x / scale) + zero, 0, maxCode) - zero);
            sum += (x - level) * (x - level) * Gaussian.Density(x) * Step;
        }

        return sum;
    }
}
