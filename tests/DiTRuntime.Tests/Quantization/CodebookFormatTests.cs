using System.Text;
using System.Text.Json;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Quantization;

/// <summary>Sizes of codebook formats, to the byte, and what their entries say.</summary>
public sealed class CodebookFormatTests
{
    private const double Mebi = 1 << 20;

    private static readonly DiTConfig s_xl = DiTConfigs.Parse("DiT-XL/2");

    [Test]
    public void VQ4DiT_s_2_bits_take_what_the_paper_says()
    {
        // reference/methods.md §2.1: codes 159.47, fp32 codebooks 0.766 and fp32 biases 1.846 MiB over the blocks of DiT-XL/2: 162.08.
        var tensors = Blocks(_ => new CodebookFormat(256, 4));
        var (codes, books) = (Bytes(tensors, ".codes"), Bytes(tensors, ".codebook"));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(codes, Is.EqualTo(28L * 23_887_872 / 4));
            Assert.That(codes / Mebi, Is.EqualTo(159.47).Within(0.005));
            Assert.That(books, Is.EqualTo(28L * 7 * 256 * 4 * 2), "seven codebooks a block, in half precision");
            Assert.That(2 * books / Mebi, Is.EqualTo(0.766).Within(0.0005));
            Assert.That(Bytes(tensors, ".bias"), Is.EqualTo(28L * 17_280 * 2));
            Assert.That(2 * Bytes(tensors, ".bias") / Mebi, Is.EqualTo(1.846).Within(0.0005));
            Assert.That((codes + 2 * books + 2 * Bytes(tensors, ".bias")) / Mebi, Is.EqualTo(162.08).Within(0.005));
        }
    }

    [Test]
    public void Three_bits_are_six_bits_for_two_weights()
    {
        var tensors = Blocks(_ => new CodebookFormat(64, 2));
        Assert.That(Bytes(tensors, ".codes"), Is.EqualTo(28L * 23_887_872 * 3 / 8));
        Assert.That(Bytes(tensors, ".codes") / Mebi, Is.EqualTo(239.2).Within(0.01));
        Assert.That(Bytes(tensors, ".codebook"), Is.EqualTo(28L * 7 * 64 * 2 * 2));
    }

    /// <summary>Decimal megabytes of the whole model, the rest in half precision (reference/methods.md §0.3).</summary>
    [TestCase(256, 4, 179.6)]
    [TestCase(64, 2, 262.8)]
    public void Whole_model_takes_the_megabytes_of_the_table(int k, int d, double megabytes) =>
        Assert.That(Plan(_ => new CodebookFormat(k, d)).Tensors().Sum(t => t.ByteCount) / 1e6, Is.EqualTo(megabytes).Within(0.1).Percent);

    /// <summary>
    /// Tables cost 16k/(m·d) bits a weight: at k = 256 the layers of 1,152 rows pay 0.44 for them, and with biases and what stays dense the whole is
    /// just short of 24 times smaller; half as many codewords for those layers pass it.
    /// </summary>
    [TestCase(256, 23.95, 23.97)]
    [TestCase(128, 25.83, 25.85)]
    public void DPQ_of_1_bit_with_everything_packed(int codewordsOfNarrowLayers, double atLeast, double atMost)
    {
        var layers = DiTLayout.Layers(s_xl);
        var formats = layers.Where(layer => layer.Inputs > 16 && layer.Shape[0] > 256)
            .ToDictionary(layer => layer.Name, layer => new LayerFormat(Pooled(layer, layer.Shape[0] > 1152 ? 256 : codewordsOfNarrowLayers)));
        var tensors = new PackedModelPlan(s_xl, formats).Tensors().ToList();
        var parameters = layers.Sum(layer => layer.Shape.Aggregate(1L, (a, b) => a * b) + (layer.HasBias ? layer.Shape[0] : 0));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(parameters, Is.EqualTo(674_834_720));
            Assert.That(4.0 * parameters / tensors.Sum(t => t.ByteCount), Is.InRange(atLeast, atMost));
            Assert.That(tensors.Where(t => t.Name.EndsWith(".table", StringComparison.Ordinal)).Select(t => t.Type), Has.Exactly(formats.Count).EqualTo(ElementType.U16));
        }

        // qkv: 3,456 rows of 144 one-byte codes, 144 tables of 256 numbers, 3,888 vectors, a bias.
        var projection = tensors.Where(t => t.Name.StartsWith("blocks.0.attn.qkv.", StringComparison.Ordinal)).Select(t => t.ByteCount);
        Assert.That(projection, Is.EqualTo(new long[] { 3456 * 144, 144 * 256 * 2, 3888 * 8 * 2, 3456 * 2 }));
    }

    [TestCase(2, 1)]
    [TestCase(3, 2)]
    [TestCase(4, 2)]
    [TestCase(5, 3)]
    [TestCase(256, 8)]
    [TestCase(257, 9)]
    [TestCase(65_536, 16)]
    public void Code_has_as_many_bits_as_its_numbers_take(int k, int bits) => Assert.That(new CodebookFormat(k, 2).CodeBits, Is.EqualTo(bits));

    [Test]
    public void Numbers_into_a_pool_are_short_where_they_can_be()
    {
        static ElementType Type(int pool) => (new CodebookFormat(256, 8) { IsProduct = true, PoolSize = pool }).TableType;
        Assert.That((Type(65_536), Type(65_537)), Is.EqualTo((ElementType.U16, ElementType.U32)));
    }

    [TestCase(1, 4, 1, 0, 8, 8, "k 1")]
    [TestCase(0, 4, 1, 0, 8, 8, "k 0")]
    [TestCase(65_537, 4, 1, 0, 8, 8, "k 65537")]
    [TestCase(256, 1, 1, 0, 8, 8, "d 1")]
    [TestCase(256, 9, 1, 0, 8, 9, "d 9")]
    [TestCase(256, 3, 1, 0, 8, 8, "d 3 does not divide the 8 columns")]
    [TestCase(256, 4, 3, 0, 8, 8, "3 parts do not divide the 8 rows")]
    [TestCase(256, 4, 0, 0, 8, 8, "0 parts")]
    [TestCase(256, 4, 1, -1, 8, 8, "pool of -1")]
    [TestCase(16, 4, 1, 33, 8, 8, "pool of 33")]
    public void What_cannot_be_stored_is_named(int k, int d, int parts, int pool, int outputs, int inputs, string words) =>
        Assert.That(new CodebookFormat(k, d) { Parts = parts, PoolSize = pool, IsProduct = pool != 0 }.Problem(outputs, inputs), Does.Contain(words));

    [TestCase("""{"format":"codebook","k":256,"d":4,"parts":3,"scale":true,"abits":16}""", "w2a16 k256 d4")]
    [TestCase("""{"format":"codebook","k":64,"d":2,"parts":1,"scale":false,"abits":8,"agroup":96,"static":false}""", "w3a8 k64 d2")]
    [TestCase("""{"format":"product","k":256,"d":8,"pool":0,"scale":false,"abits":16}""", "w1a16 pq k256 d8")]
    [TestCase("""{"format":"product","k":8,"d":2,"pool":50,"scale":true,"abits":8,"agroup":0,"static":true}""", "w1.5a8 pq k8 d2 static")]
    public void Entry_gives_itself_back(string entry, string text)
    {
        using var json = JsonDocument.Parse(entry);
        var format = LayerFormat.Read(json.RootElement, 192, 192, "file", "layer");
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream)) format.Write(writer, 192);
        Assert.That(Encoding.UTF8.GetString(stream.ToArray()), Is.EqualTo(entry));
        Assert.That(format.ToString(), Is.EqualTo(text));
    }

    /// <summary>1,152 vectors of 16 bytes each in a layer's pool, where one position's codebooks alone would take 589,824 bytes.</summary>
    [Test]
    public void Pool_pays_where_codebooks_are_large()
    {
        var format = new CodebookFormat(256, 8) { IsProduct = true };
        Assert.That(format.PoolIsSmaller(1152, 1296), Is.True);
        Assert.That(format.PoolIsSmaller(1152, 144 * 256), Is.False);
        Assert.That(new CodebookFormat(16, 2) { IsProduct = true }.PoolIsSmaller(1152, 20_736), Is.False, "16k/m is small there: reference/methods.md §3.2");
    }

    /// <summary>ceil(m n / (16 d²)) vectors (reference/methods.md §3.1).</summary>
    private static CodebookFormat Pooled(DiTLayer layer, int k)
    {
        var product = new CodebookFormat(k, 8) { IsProduct = true };
        return product with { PoolSize = (int)Math.Min((layer.Shape[0] * (long)layer.Inputs + 1023) / 1024, (long)product.BookCount(layer.Inputs) * k) };
    }

    private static List<TensorDescription> Blocks(Func<DiTLayer, CodebookFormat> format) =>
        [.. Plan(format).Tensors().Where(t => t.Name.StartsWith("blocks.", StringComparison.Ordinal))];

    /// <summary>All layers of the blocks, q, k and v with a codebook each.</summary>
    private static PackedModelPlan Plan(Func<DiTLayer, CodebookFormat> format) => new(
        s_xl,
        DiTLayout.Layers(s_xl).Where(layer => layer.IsInBlock).ToDictionary(
            layer => layer.Name, layer => new LayerFormat(format(layer) with { Parts = layer.Name.EndsWith("qkv", StringComparison.Ordinal) ? 3 : 1 })));

    private static long Bytes(IEnumerable<TensorDescription> tensors, string suffix) =>
        tensors.Where(t => t.Name.EndsWith(suffix, StringComparison.Ordinal)).Sum(t => t.ByteCount);
}
