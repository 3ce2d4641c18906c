using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Cuda;

/// <summary>Products of every format against plain loops over the same codes.</summary>
[TestFixture]
[Category(TestDevice.Category)]
internal sealed class GemmProductTests
{
    /// <summary>Corrections hold 22 bits of each factor and sums are rounded to 24: 2^-19 of what is added up covers both.</summary>
    private const double CorrectionTolerance = 1.0 / (1 << 19);

    /// <summary>Group and K: groups that a stage holds several of, one of, and parts of; shorter last groups; odd counts; padding; whole rows.</summary>
    private static readonly int[][] s_integerShapes =
        [[32, 32 * 5], [32, 150], [64, 64 * 3], [72, 72 * 5], [96, 200], [128, 128 * 3], [144, 300], [288, 288 * 3], [288, 600], [0, 288], [0, 37]];

    private static readonly int[][] s_weightOnlyShapes = [[32, 32 * 5], [72, 72 * 3 + 16], [128, 128 * 3], [128, 200], [288, 300], [0, 131]];

    [TestCaseSource(nameof(s_integerShapes))]
    public void Integer_sums_are_exact(int group, int k) => CheckExact(8, group, k);

    [TestCase(128, 384)]
    [TestCase(144, 300)]
    [TestCase(0, 131)]
    public void Integer_sums_of_four_bit_weights_are_exact(int group, int k) => CheckExact(4, group, k);

    [TestCaseSource(nameof(s_integerShapes))]
    public void Zero_points_are_folded_in(int group, int k) => CheckZeroPoints(8, group, k);

    [TestCase(2)]
    [TestCase(3)]
    [TestCase(4)]
    [TestCase(5)]
    [TestCase(6)]
    public void Weights_of_every_width_meet_quantized_activations(int bits) => CheckZeroPoints(bits, 128, 384);

    [TestCaseSource(nameof(s_weightOnlyShapes))]
    public void Weights_of_a_byte_are_dequantized_exactly(int group, int k) => CheckWeightOnly(8, group, k);

    [TestCase(32, 160)]
    [TestCase(72, 232)]
    [TestCase(128, 200)]
    [TestCase(0, 131)]
    public void Weights_of_half_a_byte_are_dequantized_exactly(int group, int k) => CheckWeightOnly(4, group, k);

    [TestCase(2)]
    [TestCase(3)]
    [TestCase(5)]
    [TestCase(6)]
    public void Weights_of_every_width_meet_halves(int bits) => CheckWeightOnly(bits, 128, 200);

    [Test]
    public void Groups_that_split_sixteen_bytes_of_halves_are_dequantized_at_load()
    {
        CheckWeightOnly(8, 36, 100);
        using var layer = new GemmLayer(16, 100, 8, 36, new Random(1)).Pack(quantizesInput: false);
        Assert.That(layer.Format, Is.EqualTo(GemmFormat.F16));
    }

    [TestCase(1, 1, 1)]
    [TestCase(63, 17, 16)]
    [TestCase(65, 130, 72)]
    [TestCase(70, 64, 333)]
    public void Products_of_halves_are_exact_where_they_can_be(int rows, int outputs, int k)
    {
        using var weights = new RandomWeights(3);
        var random = new Random(4);
        var x = Quarters(rows * k, random);
        var w = Quarters(outputs * k, random);
        var bias = Quarters(outputs, random);
        using var packer = new LinearPacker(TestDevice.Device);
        using var layer = packer.Pack(new DenseWeight("layer", [weights.Tensor("layer.weight", w, outputs, k)], bias));
        using var input = GemmRun.Halves(x, rows, k);
        var y = GemmRun.Floats(layer, input.Pointer, rows, GemmRun.SmallTile.With(layer, stages: 3));
        for (var m = 0; m < rows; m++)
        {
            for (var n = 0; n < outputs; n++)
            {
                double expected = bias[n];
                for (var i = 0; i < k; i++) expected += (double)x[m * k + i] * w[n * k + i];
                Assert.That(y[m * outputs + n], Is.EqualTo((float)expected), $"row {m}, column {n}");
            }
        }
    }

    [Test]
    public void Sums_beyond_24_bits_are_rounded_once()
    {
        const int k = 288;
        var layer = new GemmLayer(16, k, 8, 0, new Random(1), hasZeros: false, () => (Half)(1 / 64f));
        layer.Codes.AsSpan().Fill(255);
        layer.Codes[0] = 254;
        layer.Bias.AsSpan().Clear();
        using var input = new GemmInput(3, layer.Grid, new Random(2), hasZeros: false, () => 1);
        input.Codes.AsSpan().Fill(255);
        using var prepared = layer.Pack(quantizesInput: true);
        var y = GemmRun.Floats(prepared, input.Upload(0, 3), 3, GemmRun.SmallTile.With(prepared));
        Assert.That(y[0], Is.EqualTo((k * 255 * 255 - 255) / 64f));
        Assert.That(y[1], Is.EqualTo(k * 255 * 255 / 64f));
    }

    /// <summary>Scales are powers of two and zero points zero: every partial sum is a float, and the result has no tolerance.</summary>
    private static void CheckExact(int bits, int group, int k)
    {
        const int rows = 67, outputs = 86;
        var random = new Random(group + k);
        var layer = new GemmLayer(outputs, k, bits, group, random, hasZeros: false, () => (Half)(random.Next(2) == 0 ? 1 / 64f : 1 / 128f));
        using var input = new GemmInput(rows, layer.Grid, random, hasZeros: false, () => random.Next(2) == 0 ? 1 / 16f : 1 / 32f, k > 256 ? 63 : 127);
        using var prepared = layer.Pack(quantizesInput: true);
        Assert.That(prepared.Format, Is.EqualTo(bits <= 4 ? GemmFormat.W4A8 : GemmFormat.W8A8));
        var y = GemmRun.Floats(prepared, input.Upload(0, rows), rows, GemmRun.SmallTile.With(prepared));
        for (var m = 0; m < rows; m++)
            for (var n = 0; n < outputs; n++)
                Assert.That(y[m * outputs + n], Is.EqualTo((float)input.Product(m, layer, n).Value), $"row {m}, column {n}");
    }

    private static void CheckZeroPoints(int bits, int group, int k)
    {
        const int rows = 65, outputs = 72;
        var random = new Random(bits + group + k);
        var layer = new GemmLayer(outputs, k, bits, group, random);
        using var input = new GemmInput(rows, layer.Grid, random);
        using var prepared = layer.Pack(quantizesInput: true);
        var y = GemmRun.Floats(prepared, input.Upload(0, rows), rows, GemmRun.SmallTile.With(prepared));
        for (var m = 0; m < rows; m++)
        {
            for (var n = 0; n < outputs; n++)
            {
                var (expected, magnitude) = input.Product(m, layer, n);
                Assert.That(y[m * outputs + n], Is.EqualTo(expected).Within(CorrectionTolerance * magnitude), $"row {m}, column {n}");
            }
        }
    }

    /// <summary>Scales are powers of two, so that weights are halves and sums floats without rounding.</summary>
    private static void CheckWeightOnly(int bits, int group, int k)
    {
        const int rows = 66, outputs = 70;
        var random = new Random(bits + group + k);
        var layer = new GemmLayer(outputs, k, bits, group, random, scale: () => (Half)(random.Next(2) == 0 ? 1 / 64f : 1 / 128f));
        var x = Quarters(rows * k, random);
        using var input = GemmRun.Halves(x, rows, k);
        using var prepared = layer.Pack(quantizesInput: false);
        var y = GemmRun.Floats(prepared, input.Pointer, rows, GemmRun.SmallTile.With(prepared));
        for (var m = 0; m < rows; m++)
        {
            for (var n = 0; n < outputs; n++)
            {
                double expected = layer.Bias[n];
                for (var i = 0; i < k; i++) expected += x[m * k + i] * layer.HalfWeight(n, i);
                Assert.That(y[m * outputs + n], Is.EqualTo((float)expected), $"row {m}, column {n}");
            }
        }
    }

    private static float[] Quarters(int count, Random random)
    {
        var values = new float[count];
        for (var i = 0; i < count; i++) values[i] = random.Next(-8, 9) / 4f;
        return values;
    }
}
