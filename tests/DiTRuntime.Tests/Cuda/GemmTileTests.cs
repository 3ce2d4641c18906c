using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Cuda;

/// <summary>A row's bits depend on nothing but the row: not on the tile, the stages, the batch or the form of the kernel.</summary>
[TestFixture]
[Category(TestDevice.Category)]
internal sealed class GemmTileTests
{
    private const int Rows = 131, Outputs = 208;

    /// <summary>The part that is also computed alone: rows from both halves of several fragments.</summary>
    private const int First = 90, Count = 21;

    private static readonly GemmTile[] s_tiles = [new(128, 192, 2, 4), new(128, 96, 2, 2), new(128, 128, 2, 4)];

    [TestCase(8, 128, 0)]
    [TestCase(8, 128, 1)]
    [TestCase(8, 288, 2)]
    [TestCase(4, 128, 0)]
    [TestCase(4, 0, 2)]
    public void Products_of_codes_are_the_same_in_every_tile(int bits, int group, int tile)
    {
        var random = new Random(1);
        var layer = new GemmLayer(Outputs, 600, bits, group, random);
        using var input = new GemmInput(Rows, layer.Grid, random);
        using var prepared = layer.Pack(quantizesInput: true);
        var all = GemmRun.Floats(prepared, input.Upload(0, Rows), Rows, s_tiles[tile].With(prepared, stages: 3));
        var some = GemmRun.Floats(prepared, input.Upload(First, Count), Count, GemmRun.SmallTile.With(prepared));
        Assert.That(some, Is.EqualTo(all[(First * Outputs)..((First + Count) * Outputs)]));
    }

    [Test]
    public void Sums_that_start_at_the_bits_of_a_float_are_the_same()
    {
        var random = new Random(2);
        var layer = new GemmLayer(Outputs, 600, 8, 128, random);
        layer.Codes.AsSpan(0, 600).Fill(255);
        using var input = new GemmInput(9, layer.Grid, random);
        input.Codes.AsSpan(0, 600).Fill(255);
        using var prepared = layer.Pack(quantizesInput: true);
        var plain = GemmRun.Floats(prepared, input.Upload(0, 9), 9, GemmRun.SmallTile.With(prepared));
        var magic = GemmRun.Floats(prepared, input.Upload(0, 9), 9, GemmRun.SmallTile.With(prepared), architecture: 80);
        Assert.That(magic, Is.EqualTo(plain));
        var problem = new GemmProblem { Rows = 9, Layer = prepared };
        var configuration = GemmRun.SmallTile.With(prepared);
        Assert.That(GemmKernel.Spec(problem, configuration, 80).Text, Does.EndWith("MAGIC=1"));
        Assert.That(GemmKernel.Spec(problem, configuration, 86).Text, Does.Not.Contain("MAGIC"));
        using var longer = new GemmLayer(16, 600, 8, 144, random).Pack(quantizesInput: true);
        Assert.That(GemmKernel.Spec(problem with { Layer = longer }, configuration, 80).Text, Does.Not.Contain("MAGIC"), "sums of 144 codes can pass 2^23");
    }

    [Test]
    public void Products_of_halves_are_the_same_in_every_tile()
    {
        using var weights = new RandomWeights(5);
        using var packer = new LinearPacker(TestDevice.Device);
        using var layer = packer.Pack(weights.Linear(Outputs, 333));
        var x = weights.Values(Rows * 333);
        using var input = GemmRun.Halves(x, Rows, 333);
        using var part = GemmRun.Halves(x[(First * 333)..((First + Count) * 333)], Count, 333);
        var all = GemmRun.Floats(layer, input.Pointer, Rows, new GemmTile(128, 256, 2, 4).With(layer, stages: 4));
        Assert.That(GemmRun.Floats(layer, part.Pointer, Count, GemmRun.SmallTile.With(layer, stages: 3)), Is.EqualTo(all[(First * Outputs)..((First + Count) * Outputs)]));
    }

    [Test]
    public void Dequantized_products_are_the_same_in_every_tile()
    {
        var random = new Random(6);
        using var weights = new RandomWeights(7);
        using var layer = new GemmLayer(Outputs, 384, 4, 128, random).Pack(quantizesInput: false);
        var x = weights.Values(Rows * 384);
        using var input = GemmRun.Halves(x, Rows, 384);
        using var part = GemmRun.Halves(x[(First * 384)..((First + Count) * 384)], Count, 384);
        var all = GemmRun.Floats(layer, input.Pointer, Rows, s_tiles[2].With(layer, stages: 3));
        Assert.That(GemmRun.Floats(layer, part.Pointer, Count, GemmRun.SmallTile.With(layer)), Is.EqualTo(all[(First * Outputs)..((First + Count) * Outputs)]));
    }
}
