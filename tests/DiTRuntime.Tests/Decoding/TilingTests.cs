using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Decoding;

namespace DiTRuntime.Tests.Decoding;

/// <summary>A latent decoded in tiles against the same latent decoded whole.</summary>
internal sealed class TilingTests
{
    private const int TileSide = 8;

    private readonly ReferenceBackend _backend = new();

    [OneTimeTearDown]
    public void Close() => _backend.Dispose();

    [TestCase(8, 8)]
    [TestCase(9, 5)]
    [TestCase(21, 14)]
    [TestCase(3, 30)]
    public void Network_that_sees_one_position_decodes_alike(int height, int width)
    {
        // 1×1 convolutions in 3×3 clothes: no pixel depends on a neighbour, so tiles must not show at all.
        var tensors = Tensors().ConvertAll(t => t.Shape.Length == 4 ? t with { Values = CentresOnly(t.Values) } : t);
        var (whole, tiled) = Decode(tensors, height, width);
        Assert.That(tiled, Is.EqualTo(whole).Within(1e-6f));
    }

    [Test]
    public void Seams_lie_where_tiles_overlap_only()
    {
        var (whole, tiled) = Decode(Tensors(), 14, 14);

        // Two tiles a side, sharing positions 6 and 7. The first convolution and the block reach 4 positions, which are 8 pixels;
        // the two convolutions after the upsampling reach one pixel each.
        var starts = new TileAxis(14, TileSide);
        Assert.That((starts.Count, starts.Start(1)), Is.EqualTo((2, 6)));
        const int Reach = 2 * 4 + 2;
        for (var y = 0; y < 28; y++)
            for (var x = 0; x < 28; x++)
            {
                if (IsNearSeam(y) || IsNearSeam(x)) continue;
                for (var c = 0; c < 3; c++) Assert.That(tiled[(y * 28 + x) * 3 + c], Is.EqualTo(whole[(y * 28 + x) * 3 + c]), $"{y},{x}");
            }

        Assert.That(Relative.Error(tiled, whole), Is.GreaterThan(0), "the network sees its neighbours");

        // From the first tile's last trustworthy pixel to the second one's first.
        static bool IsNearSeam(int pixel) => pixel >= 16 - Reach && pixel < 12 + Reach;
    }

    [Test]
    public void Memory_does_not_grow_with_the_image()
    {
        using var decoder = Load(Tensors(), TileSide);
        Assert.That(decoder.WorkingBytes(100, 200), Is.EqualTo(decoder.WorkingBytes(TileSide, TileSide)));
        decoder.Decode(new float[4 * 12 * 20], 12, 20, new float[24 * 40 * 3]);
        Assert.That(decoder.AllocatedBytes, Is.EqualTo(decoder.WorkingBytes(12, 20)));
    }

    [Test]
    public void Published_size_decodes_whole_up_to_512_pixels()
    {
        using var decoder = Load(Tensors(), null);
        Assert.That(decoder.WorkingBytes(64, 64), Is.EqualTo(4 * decoder.WorkingBytes(32, 32)).And.EqualTo(decoder.WorkingBytes(65, 400)));
    }

    private (float[] Whole, float[] Tiled) Decode(List<TestTensor> tensors, int height, int width)
    {
        var latent = TestTensor.Random("latent", 4, 4 * height * width).Values;
        var (whole, tiled) = (new float[4 * height * width * 3], new float[4 * height * width * 3]);
        using (var decoder = Load(tensors, null)) decoder.Decode(latent, height, width, whole);
        using (var decoder = Load(tensors, TileSide)) decoder.Decode(latent, height, width, tiled);
        return (whole, tiled);
    }

    private TinyAutoencoder Load(List<TestTensor> tensors, int? tileSide)
    {
        using var checkpoint = new TestCheckpoint(tensors);
        var decoder = TinyAutoencoder.Load(checkpoint, _backend);
        if (tileSide is { } side) decoder.TileSide = side;
        return decoder;
    }

    /// <summary>One block, one upsampling, nothing else.</summary>
    private static List<TestTensor> Tensors() =>
    [
        TestTensor.Random("1.weight", 1, 8, 4, 3, 3), TestTensor.Random("1.bias", 1, 8),
        TestTensor.Random("3.conv.0.weight", 0.5f, 8, 8, 3, 3), TestTensor.Random("3.conv.0.bias", 1, 8),
        TestTensor.Random("3.conv.2.weight", 0.5f, 8, 8, 3, 3), TestTensor.Random("3.conv.2.bias", 1, 8),
        TestTensor.Random("3.conv.4.weight", 0.5f, 8, 8, 3, 3), TestTensor.Random("3.conv.4.bias", 1, 8),
        TestTensor.Random("5.weight", 0.5f, 8, 8, 3, 3),
        TestTensor.Random("6.weight", 0.5f, 3, 8, 3, 3), TestTensor.Random("6.bias", 1, 3),
    ];

    private static float[] CentresOnly(float[] values) => [.. values.Select((value, i) => i % 9 == 4 ? value : 0)];
}
