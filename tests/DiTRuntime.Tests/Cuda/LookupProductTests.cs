using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>Products of codebook weights against plain loops over the same codes, where codebooks are looked up and where records are decoded first.</summary>
[TestFixture]
[Category(TestDevice.Category)]
internal sealed class LookupProductTests
{
    /// <summary>As in <see cref="GemmProductTests"/>: corrections hold 22 bits of each factor and sums are rounded to 24.</summary>
    private const double CorrectionTolerance = 1.0 / (1 << 19);

    private const int Rows = 66, Outputs = 70;

    /// <summary>k, d, K, copies: rows that end inside a stage, a read and a unit.</summary>
    [TestCase(256, 4, 200, 16)]
    [TestCase(256, 4, 72, 1)]
    [TestCase(256, 8, 328, 8)]
    [TestCase(64, 2, 130, 32)]
    [TestCase(4, 4, 200, 8)]
    [TestCase(16, 8, 136, 1)]
    [TestCase(300, 4, 200, 1)]
    [TestCase(1024, 8, 136, 1)]
    public void Codewords_of_halves_are_looked_up(int k, int d, int inputs, int copies) =>
        CheckHalves(GemmFormat.LookupA16, new CodebookFormat(k, d) { HasRowScales = d == 4 }, Outputs, inputs, copies);

    /// <summary>k, d, N: tiles of 64 columns that meet two parts, or three.</summary>
    [TestCase(16, 4, 144)]
    [TestCase(300, 8, 96)]
    public void Parts_have_codebooks_of_their_own(int k, int d, int outputs) =>
        CheckHalves(GemmFormat.LookupA16, new CodebookFormat(k, d) { Parts = 3, HasRowScales = true }, outputs, 72, copies: 1);

    [TestCase(64, 4, 200)]
    [TestCase(256, 8, 136)]
    [TestCase(16, 2, 130)]
    public void Every_position_has_its_codebook(int k, int d, int inputs) =>
        CheckHalves(GemmFormat.LookupA16, new CodebookFormat(k, d) { IsProduct = true, HasRowScales = d == 8 }, Outputs, inputs, copies: 1);

    [TestCase(16, 3, 1, 69, 201)]
    [TestCase(300, 5, 1, 33, 65)]
    [TestCase(65536, 4, 1, 33, 72)]
    [TestCase(256, 4, 3, 69, 72)]
    public void Records_are_decoded_where_codewords_cannot_be_looked_up(int k, int d, int parts, int outputs, int inputs) =>
        CheckHalves(GemmFormat.F16, new CodebookFormat(k, d) { Parts = parts, HasRowScales = parts == 3 }, outputs, inputs, copies: 1);

    [TestCase(16, 4, 40)]
    [TestCase(512, 8, 700)]
    public void Pools_are_decoded(int k, int d, int pool) =>
        CheckHalves(GemmFormat.F16, new CodebookFormat(k, d) { IsProduct = true, PoolSize = pool }, Outputs, 136, copies: 1);

    [Test]
    public void Pools_beyond_sixteen_bits_are_decoded() =>
        CheckHalves(GemmFormat.F16, new CodebookFormat(4096, 2) { IsProduct = true, PoolSize = 70_000 }, 17, 40, copies: 1);

    /// <summary>k, d, group, K: groups that a stage holds several of, one of, and parts of; padding inside groups; shorter last groups; whole rows.</summary>
    [TestCase(256, 4, 128, 384, 32)]
    [TestCase(256, 4, 128, 200, 1)]
    [TestCase(256, 8, 96, 200, 16)]
    [TestCase(64, 2, 64, 192, 32)]
    [TestCase(256, 8, 32, 160, 1)]
    [TestCase(300, 4, 288, 600, 1)]
    [TestCase(256, 8, 0, 296, 1)]
    [TestCase(300, 2, 72, 216, 1)]
    public void Codewords_of_bytes_are_exact(int k, int d, int group, int inputs, int copies) =>
        CheckIntegers(GemmFormat.LookupA8, new CodebookFormat(k, d) { HasRowScales = true }, Outputs, inputs, group, copies);

    [TestCase(16, 8, 72, 216)]
    [TestCase(64, 4, 128, 384)]
    public void Every_position_has_its_codebook_of_bytes(int k, int d, int group, int inputs) =>
        CheckIntegers(GemmFormat.LookupA8, new CodebookFormat(k, d) { IsProduct = true, HasRowScales = true }, Outputs, inputs, group, copies: 1);

    [Test]
    public void Parts_have_codebooks_of_bytes_of_their_own() =>
        CheckIntegers(GemmFormat.LookupA8, new CodebookFormat(256, 4) { Parts = 3 }, 144, 384, 128, copies: 1);

    [TestCase(16, 3, 96, 201, 0)]
    [TestCase(65536, 8, 128, 200, 0)]
    [TestCase(16, 4, 128, 200, 30)]
    public void Records_of_bytes_are_decoded(int k, int d, int group, int inputs, int pool) =>
        CheckIntegers(GemmFormat.W8A8, new CodebookFormat(k, d) { HasRowScales = true, IsProduct = pool > 0, PoolSize = pool }, Outputs, inputs, group, copies: 1);

    [Test]
    public void Integer_sums_that_start_at_the_bits_of_a_float_are_the_same()
    {
        var layer = new CodebookLayer(Outputs, 384, new CodebookFormat(256, 4), new Random(1), 128);
        using var input = new GemmInput(9, new GroupGrid(384, 128), new Random(2));
        input.Codes.AsSpan(0, 384).Fill(255);
        using var prepared = layer.Pack();
        var configuration = Configuration(prepared, 32);
        var plain = GemmRun.Floats(prepared, input.Upload(0, 9), 9, configuration);
        Assert.That(GemmRun.Floats(prepared, input.Upload(0, 9), 9, configuration, architecture: 80), Is.EqualTo(plain));
        var problem = new GemmProblem { Rows = 9, Layer = prepared };
        Assert.That(GemmKernel.Spec(problem, configuration, 80).Text, Does.Contain("MAGIC=1"));
        using var longer = new CodebookLayer(16, 384, new CodebookFormat(256, 4), new Random(1), 144).Pack();
        Assert.That(GemmKernel.Spec(problem with { Layer = longer }, configuration, 80).Text, Does.Not.Contain("MAGIC"), "sums of 144 can pass 2^22");
    }

    internal static GemmConfiguration Configuration(CudaLinear layer, int copies) => GemmRun.SmallTile.With(layer) with { BookCopies = copies };

    /// <summary>Inputs are quarters, codewords 128ths and scales powers of two: every sum is a float.</summary>
    private static void CheckHalves(GemmFormat expected, CodebookFormat format, int outputs, int inputs, int copies)
    {
        var random = new Random(inputs + format.CodebookSize);
        var layer = new CodebookLayer(outputs, inputs, format, random);
        var x = new float[Rows * inputs];
        for (var i = 0; i < x.Length; i++) x[i] = random.Next(-8, 9) / 4f;
        using var input = GemmRun.Halves(x, Rows, inputs);
        using var prepared = layer.Pack();
        Assert.That(prepared.Format, Is.EqualTo(expected));
        var y = GemmRun.Floats(prepared, input.Pointer, Rows, Configuration(prepared, copies));
        Assert.That(y, Is.EqualTo(layer.Products(x, Rows)));
    }

    private static void CheckIntegers(GemmFormat expected, CodebookFormat format, int outputs, int inputs, int group, int copies)
    {
        var random = new Random(inputs + group);
        var grid = new GroupGrid(inputs, group);
        // Input scales are powers of two, too, and codes so small that no sum has more than 24 bits: no tolerance without zero points.
        var layer = new CodebookLayer(outputs, inputs, format, random, group);
        using var prepared = layer.Pack();
        Assert.That(prepared.Format, Is.EqualTo(expected));
        var configuration = Configuration(prepared, copies);
        using var exact = new GemmInput(Rows, grid, random, hasZeros: false, () => random.Next(2) == 0 ? 1 / 16f : 1 / 32f, maxCode: 63);
        using var shifted = new GemmInput(Rows, grid, random);
        var (y, z) = (GemmRun.Floats(prepared, exact.Upload(0, Rows), Rows, configuration), GemmRun.Floats(prepared, shifted.Upload(0, Rows), Rows, configuration));
        for (var m = 0; m < Rows; m++)
        {
            for (var n = 0; n < outputs; n++)
            {
                // Bytes that were decoded have a zero point of 128, whose part passes through corrections.
                var (value, magnitude) = layer.Product(exact, m, n);
                Assert.That(y[m * outputs + n], expected == GemmFormat.LookupA8 ? Is.EqualTo((float)value) : Is.EqualTo(value).Within(4 * CorrectionTolerance * magnitude), $"row {m}, column {n}");
                (value, magnitude) = layer.Product(shifted, m, n);
                Assert.That(z[m * outputs + n], Is.EqualTo(value).Within((expected == GemmFormat.LookupA8 ? 2 : 4) * CorrectionTolerance * magnitude), $"row {m}, column {n}");
            }
        }
    }
}
