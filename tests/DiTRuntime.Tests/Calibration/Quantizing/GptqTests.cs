using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Calibration.Numerics;

namespace DiTRuntime.Tests.Calibration.Quantizing;

internal sealed unsafe class GptqTests
{
    private const int Outputs = 19;

    // Groups within a block of 128, of one, across several, ragged, and whole rows.
    [TestCase(300, 32)]
    [TestCase(288, 96)]
    [TestCase(256, 128)]
    [TestCase(384, 192)]
    [TestCase(600, 288)]
    [TestCase(300, 128)]
    [TestCase(300, 0)]
    public void Agrees_with_the_textbook(int inputs, int group)
    {
        var format = new GroupFormat(4, group);
        using var workers = new Workers(2);
        using var problem = new RandomInputs(workers, inputs, 2 * inputs, seed: group + 1);
        var weights = RandomWeights(inputs);

        var (found, damping) = Quantize(workers, problem, weights, format);

        var damped = (double[,])problem.Expected.Clone();
        for (var i = 0; i < inputs; i++) damped[i, i] += damping;
        var expected = NaiveGptq.Quantize(weights, damped, format);
        // A weight that lies at the middle between two codes may fall to the other side in fp32, and the rest of its row follows.
        var equalRows = Enumerable.Range(0, Outputs).Count(row => Enumerable.Range(0, inputs).All(i => Math.Abs(found[row, i] - expected[row, i]) < 1e-3));
        Assert.That(equalRows, Is.GreaterThanOrEqualTo(Outputs - 4));
        Assert.That(WeightedError(weights, found, damped), Is.EqualTo(WeightedError(weights, expected, damped)).Within(2).Percent);
    }

    [Test]
    public void Loses_less_than_rounding_to_nearest([Values(2, 3, 4, 8)] int bits, [Values(32, 0)] int group)
    {
        const int inputs = 192;
        var format = new GroupFormat(bits, group);
        using var workers = new Workers(2);
        using var problem = new RandomInputs(workers, inputs, 600, seed: 4);
        var weights = RandomWeights(inputs);

        var (found, _) = Quantize(workers, problem, weights, format);

        Assert.That(WeightedError(weights, found, problem.Expected), Is.LessThan(0.9 * WeightedError(weights, RoundToNearest(weights, format), problem.Expected)));
    }

    [Test]
    public void Dead_columns_become_zero_and_disturb_nothing()
    {
        using var workers = new Workers(2);
        using var problem = new RandomInputs(workers, 96, 300, seed: 9, deadColumn: 40);
        var weights = RandomWeights(96);
        for (var row = 0; row < Outputs; row++) weights[row, 40] = 100;

        var (found, _) = Quantize(workers, problem, weights, new GroupFormat(4, 32));

        for (var row = 0; row < Outputs; row++)
        {
            Assert.That(found[row, 40], Is.Zero);
            Assert.That(found[row, 41], Is.EqualTo(weights[row, 41]).Within(0.3));
        }
    }

    [Test]
    public void Is_the_same_on_any_number_of_threads()
    {
        double[,] Run(int threads)
        {
            using var workers = new Workers(threads);
            using var problem = new RandomInputs(workers, 260, 700, seed: 10);
            return Quantize(workers, problem, RandomWeights(260), new GroupFormat(3, 96)).Values;
        }

        var one = Run(1);

        Assert.That(Run(2), Is.EqualTo(one));
        Assert.That(Run(3), Is.EqualTo(one));
    }

    private static float[,] RandomWeights(int inputs)
    {
        var random = new Random(inputs);
        var weights = new float[Outputs, inputs];
        for (var row = 0; row < Outputs; row++)
            for (var i = 0; i < inputs; i++)
                weights[row, i] = (random.NextSingle() - 0.4f) * (1 + row % 3);
        return weights;
    }

    private static (double[,] Values, double Damping) Quantize(Workers workers, RandomInputs problem, float[,] weights, GroupFormat format)
    {
        var inputs = weights.GetLength(1);
        using var factor = InverseFactor.Of(workers, problem.Hessian, Gptq.DampingRatio);
        var working = (float[,])weights.Clone();
        GroupCodes codes;
        fixed (float* values = working) codes = Gptq.Quantize(workers, new Matrix(values, Outputs, inputs, inputs), factor, format, RangeRule.MinMax);
        return (Dequantize(codes, inputs, format), factor.Damping);
    }

    private static double[,] RoundToNearest(float[,] weights, GroupFormat format)
    {
        var inputs = weights.GetLength(1);
        var groups = format.Grid(inputs).Count;
        var codes = new GroupCodes(new byte[Outputs * inputs], new Half[Outputs * groups], new byte[Outputs * groups]);
        var row = new float[inputs];
        for (var r = 0; r < Outputs; r++)
        {
            for (var i = 0; i < inputs; i++) row[i] = weights[r, i];
            LayerQuantizer.QuantizeRow(
                row, format, RangeRule.MinMax, codes.Codes.AsSpan(r * inputs, inputs), codes.Scales.AsSpan(r * groups, groups), codes.Zeros.AsSpan(r * groups, groups));
        }

        return Dequantize(codes, inputs, format);
    }

    private static double[,] Dequantize(GroupCodes codes, int inputs, GroupFormat format)
    {
        var grid = format.Grid(inputs);
        var values = new double[Outputs, inputs];
        for (var row = 0; row < Outputs; row++)
            for (var i = 0; i < inputs; i++)
                values[row, i] = GroupQuantizer.Dequantize(codes.Codes[row * inputs + i], codes.Scales[row * grid.Count + i / grid.Size], codes.Zeros[row * grid.Count + i / grid.Size]);
        return values;
    }

    private static double WeightedError(float[,] weights, double[,] quantized, double[,] hessian)
    {
        var inputs = weights.GetLength(1);
        double sum = 0;
        for (var row = 0; row < Outputs; row++)
            for (var i = 0; i < inputs; i++)
                for (var j = 0; j < inputs; j++)
                    sum += (weights[row, i] - quantized[row, i]) * hessian[i, j] * (weights[row, j] - quantized[row, j]);
        return sum;
    }
}
