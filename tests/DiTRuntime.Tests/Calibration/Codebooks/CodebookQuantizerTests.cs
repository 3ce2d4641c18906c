using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Calibration.Codebooks;

internal sealed unsafe class CodebookQuantizerTests
{
    private const int Outputs = 36, Inputs = 48;

    private static readonly float[] s_weights = Weights();

    [TestCase(1, false, false)]
    [TestCase(3, false, false)]
    [TestCase(3, false, true)]
    [TestCase(1, true, false)]
    [TestCase(1, true, true)]
    public void Every_vector_has_the_nearest_codeword_of_its_own_book(int parts, bool isProduct, bool hasScales)
    {
        var format = new CodebookFormat(8, 4) { Parts = parts, IsProduct = isProduct, HasRowScales = hasScales };
        float[] importance = [.. Gaussian.Values(Inputs, 5).Select(value => 0.1f + MathF.Abs(value))];

        var codes = Quantize(s_weights, format, importance);

        for (var row = 0; row < Outputs; row++)
        {
            var scale = hasScales ? (double)codes.RowScales![row] : 1;
            for (var j = 0; j < Inputs / 4; j++)
            {
                var book = isProduct ? j : row / (Outputs / parts);
                double Distance(int c) => Enumerable.Range(0, 4).Sum(i => importance[j * 4 + i] * Math.Pow(s_weights[row * Inputs + j * 4 + i] - scale * (double)codes.Vectors[(book * 8 + c) * 4 + i], 2));
                var code = codes.Codes[row * Inputs / 4 + j];
                // fp32 distances against fp64 ones: of two codewords that are equally far either may be taken.
                Assert.That(Distance(code), Is.LessThanOrEqualTo(Enumerable.Range(0, 8).Min(Distance) * (1 + 1e-4)), $"row {row}, vector {j}");
            }
        }

        Assert.That(codes.Vectors, Has.Length.EqualTo(format.BookCount(Inputs) * 32));
        Assert.That(codes.RowScales?.Length, Is.EqualTo(hasScales ? Outputs : null));
    }

    [Test]
    public void Row_scales_win_where_rows_differ_in_size([Values] bool isProduct)
    {
        float[] weights = [.. s_weights.Select((w, i) => w * MathF.ScaleB(1, i / Inputs % 8))];
        var format = new CodebookFormat(8, 4) { IsProduct = isProduct };

        var (plain, scaled) = (Error(weights, format), Error(weights, format with { HasRowScales = true }));

        Assert.That(scaled, Is.LessThan(0.8 * plain));
    }

    [Test]
    public void Any_number_of_threads_gives_the_same_codes()
    {
        var format = new CodebookFormat(16, 3) { Parts = 3, HasRowScales = true };

        var results = new[] { 1, 2, 5 }.Select(threads => Quantize(s_weights, format, null, threads)).ToArray();

        foreach (var result in results.AsSpan(1))
        {
            Assert.That(result.Codes, Is.EqualTo(results[0].Codes));
            Assert.That(result.Vectors, Is.EqualTo(results[0].Vectors));
            Assert.That(result.RowScales, Is.EqualTo(results[0].RowScales));
        }
    }

    [Test]
    public void Rows_of_zeros_keep_a_scale_that_a_file_can_hold()
    {
        var weights = s_weights.ToArray();
        weights.AsSpan(2 * Inputs, Inputs).Clear();

        var codes = Quantize(weights, new CodebookFormat(8, 4) { HasRowScales = true }, null);

        Assert.That(codes.RowScales, Has.All.Matches<Half>(scale => scale > Half.Zero && Half.IsFinite(scale)));
        Assert.That(codes.Vectors, Has.All.Matches<Half>(Half.IsFinite));
    }

    /// <summary>Rows of different sizes.</summary>
    private static float[] Weights() => [.. Gaussian.Values(Outputs * Inputs, 1).Select((value, i) => value * (0.5f + i / Inputs % 5))];

    private static double Error(float[] weights, CodebookFormat format)
    {
        var codes = Quantize(weights, format, null);
        var made = CodebookWeight.Pack("layer", Outputs, Inputs, null, format, codes.Codes, codes.Vectors, rowScales: codes.RowScales);
        var values = new float[weights.Length];
        made.CopyRows(0, Outputs, values);
        return values.Zip(weights, (a, b) => Math.Pow(a - b, 2)).Sum();
    }

    private static CodebookCodes Quantize(float[] weights, CodebookFormat format, float[]? importance, int threads = 2)
    {
        using var backend = CpuBackend.Create(new CpuOptions(threads));
        using var workers = new Workers(threads);
        fixed (float* values = weights) return new CodebookQuantizer(backend, workers, seed: 3).Quantize(new Matrix(values, Outputs, Inputs, Inputs), format, importance);
    }
}
