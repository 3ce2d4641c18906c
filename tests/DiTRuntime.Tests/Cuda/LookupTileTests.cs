using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Cuda.Planning;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Cuda;

/// <summary>Tiles of codebook products: the same bits in all of them, alone and in a batch, and a choice that fits.</summary>
[TestFixture]
[Category(TestDevice.Category)]
internal sealed class LookupTileTests
{
    private const int Rows = 131, Outputs = 144, Inputs = 600, First = 90, Count = 13;

    private static readonly GemmTile s_largeTile = new(128, 192, 2, 4), s_fewRowsTile = new(16, 128, 1, 4);

    [Test]
    public void Looked_up_halves_are_the_same_in_every_tile([Values] bool isProduct)
    {
        using var weights = new RandomWeights(6);
        var format = isProduct ? new CodebookFormat(16, 8) { IsProduct = true } : new CodebookFormat(256, 4) { Parts = 3, HasRowScales = true };
        using var layer = new CodebookLayer(Outputs, Inputs, format, new Random(1)).Pack();
        var x = weights.Values(Rows * Inputs);
        using var input = GemmRun.Halves(x, Rows, Inputs);
        using var part = GemmRun.Halves(x[(First * Inputs)..((First + Count) * Inputs)], Count, Inputs);
        var all = GemmRun.Floats(layer, input.Pointer, Rows, s_largeTile.With(layer, stages: 3));
        var expected = all[(First * Outputs)..((First + Count) * Outputs)];
        Assert.That(GemmRun.Floats(layer, part.Pointer, Count, LookupProductTests.Configuration(layer, isProduct ? 1 : 16)), Is.EqualTo(expected));
        Assert.That(GemmRun.Floats(layer, part.Pointer, Count, s_fewRowsTile.With(layer) with { BookCopies = isProduct ? 1 : 8 }), Is.EqualTo(expected), "few rows");
    }

    [Test]
    public void Looked_up_bytes_are_the_same_in_every_tile()
    {
        var layer = new CodebookLayer(Outputs, Inputs, new CodebookFormat(256, 8) { Parts = 3, HasRowScales = true }, new Random(1), 96);
        using var input = new GemmInput(Rows, new GroupGrid(Inputs, 96), new Random(2));
        using var prepared = layer.Pack();
        var all = GemmRun.Floats(prepared, input.Upload(0, Rows), Rows, s_largeTile.With(prepared, stages: 3));
        var expected = all[(First * Outputs)..((First + Count) * Outputs)];
        Assert.That(GemmRun.Floats(prepared, input.Upload(First, Count), Count, LookupProductTests.Configuration(prepared, 16)), Is.EqualTo(expected));
        Assert.That(GemmRun.Floats(prepared, input.Upload(First, Count), Count, s_fewRowsTile.With(prepared)), Is.EqualTo(expected), "few rows");
    }

    [TestCase(false)]
    [TestCase(true)]
    public void Few_rows_of_group_weights_are_the_same_in_a_tile_of_their_own(bool quantizesInput)
    {
        var random = new Random(3);
        using var weights = new RandomWeights(4);
        var layer = new GemmLayer(Outputs, Inputs, 4, 128, random);
        using var prepared = layer.Pack(quantizesInput);
        using var codes = new GemmInput(Count, layer.Grid, random);
        using var halves = GemmRun.Halves(weights.Values(Count * Inputs), Count, Inputs);
        float[] Products(GemmTile tile) => quantizesInput
            ? GemmRun.Floats(prepared, codes.Upload(0, Count), Count, tile.With(prepared))
            : GemmRun.Floats(prepared, halves.Pointer, Count, tile.With(prepared));
        Assert.That(Products(s_fewRowsTile), Is.EqualTo(Products(GemmRun.SmallTile)));
    }

    [Test]
    public void Every_product_that_is_looked_up_fits_every_device(
        [Values("k4-d2", "k64-d2", "k256-d4", "k4096-d4", "k256-d8", "k1024-d8", "pq-k256-d8", "pq-k256-d4", "k256-d4-a8-g96", "k8192-d4-a8-g128", "k4096-d8-a8-g288", "pq-k256-d8-a8-g128")] string format)
    {
        var layer = PlannedModels.Packed(format);
        foreach (var (name, outputs, inputs) in new[] { ("attn.qkv", 3456, 1152), ("attn.proj", 1152, 1152), ("mlp.fc1", 4608, 1152), ("mlp.fc2", 1152, 4608), ("adaLN", 6912, 1152) })
        {
            var weight = PlannedModels.Layer(name, outputs, inputs, layer);
            using var prepared = new CudaLinear(weight, WeightLayout.Of(weight), TestDevice.Device.Allocate(16));
            Assert.That(prepared.Format.IsLookup(), name);
            foreach (var device in new[] { 80, 86, 87, 89, 90 }.Select(GpuModels.Typical))
            {
                foreach (var rows in new[] { 1, 16, 17, 512, 32768 })
                {
                    foreach (var outputGroup in name == "mlp.fc1" ? [0, 96, 288] : new[] { 0 })
                    {
                        var problem = new GemmProblem
                        {
                            Rows = rows, Layer = prepared, Epilogue = outputGroup == 0 ? GemmEpilogue.Store : GemmEpilogue.Quantize, OutputFormat = new ActivationFormat(outputGroup),
                        };
                        var choice = GemmConfiguration.Choose(problem, device);
                        Assert.That(choice.SharedBytes(prepared.Layout), Is.LessThanOrEqualTo(device.SharedMemoryPerBlock), $"{name}, {rows} rows, {device.Name}");
                        // A codebook for every position may cost more than the rows that are computed for nothing.
                        if (rows <= 16 && outputGroup == 0 && !format.StartsWith("pq", StringComparison.Ordinal)) Assert.That(choice.Tile.Rows, Is.EqualTo(16), $"{name}, {rows} rows, {device.Name}");
                    }
                }
            }
        }
    }

    [TestCase(256, 4, 1, false, 0, true)]
    [TestCase(256, 3, 1, false, 0, false)]
    [TestCase(65536, 4, 1, false, 0, false)]
    [TestCase(256, 4, 3, false, 0, true)]
    [TestCase(256, 8, 1, true, 0, true)]
    [TestCase(1024, 8, 1, true, 0, false)]
    [TestCase(256, 8, 1, true, 999, false)]
    public void Codebooks_are_looked_up_where_they_fit(int k, int d, int parts, bool isProduct, int pool, bool expected)
    {
        var format = new CodebookFormat(k, d) { Parts = parts, IsProduct = isProduct, PoolSize = pool };
        Assert.That(new CodebookLayout(format, 1152, new GroupGrid(1152, 0), IsInteger: false).CanLookUp, Is.EqualTo(expected));
        Assert.That(new CodebookLayout(format with { Parts = 1152 / 24 }, 1152, new GroupGrid(1152, 0), IsInteger: false).CanLookUp, Is.False, "parts of 24 rows break records");
    }

    [Test]
    public void Codes_of_up_to_eight_bits_take_a_byte_on_the_device()
    {
        foreach (var (k, d, codeBytes) in new[] { (256, 4, 1), (64, 2, 1), (16, 8, 1), (300, 4, 2) })
        {
            var weight = PlannedModels.Layer("layer", 1152, 1152, new LayerFormat(new CodebookFormat(k, d)));
            // A record of 16 rows has their scales and biases, too.
            Assert.That(WeightLayout.Of(weight).StoredBytes(1152), Is.EqualTo(1152 * 1152 / d * codeBytes + 72 * 128 + k * d * 2), $"k {k}, d {d}");
        }
    }
}
