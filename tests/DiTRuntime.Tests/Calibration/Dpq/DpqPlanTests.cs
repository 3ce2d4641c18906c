using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Calibration.Dpq;

internal sealed class DpqPlanTests
{
    private const long Parameters = 674_834_720;

    private static readonly DiTConfig s_xl = new()
    {
        InputSize = 32, PatchSize = 2, InChannels = 4, OutChannels = 8, HiddenSize = 1152, Depth = 28, HeadCount = 16, MlpSize = 4608, ClassCount = 1000,
    };

    [Test]
    public void One_bit_with_everything_packed_is_24_times_smaller_than_fp32()
    {
        var plan = Plan(tiesPositions: true);

        Assert.That(4.0 * Parameters / plan.Tensors().Sum(tensor => tensor.ByteCount), Is.GreaterThan(24));
        Assert.That(BlockBits(plan), Is.EqualTo(1.167).Within(5e-4));
    }

    // The sum of methods: 1 bit of code, 1/8 of pool, and a table, which takes whole u16 here where 13 bits would do: 0.198 in place of 0.156.
    [Test]
    public void A_pool_in_every_layer_costs_what_the_paper_counts() => Assert.That(BlockBits(Plan(tiesPositions: false)), Is.EqualTo(1 + 0.125 + 0.198).Within(1e-3));

    [Test]
    public void Positions_share_a_codebook_where_rows_are_few()
    {
        var plan = Plan(tiesPositions: true);
        CodebookFormat Format(string layer) => (CodebookFormat)plan.FormatOf(layer).Weights!;

        // fc2: 576 positions of 1152 rows would take 0.44 bits of table and 0.125 of pool; adaLN: 144 of 6912 rows 0.20 in all.
        Assert.That(Format("blocks.0.mlp.fc2"), Is.EqualTo(new CodebookFormat(256, 8)));
        Assert.That(Format("blocks.0.adaLN_modulation.1"), Is.EqualTo(new CodebookFormat(256, 8) { IsProduct = true, PoolSize = 7776 }));
        Assert.That(Format("blocks.0.attn.qkv").PoolSize, Is.EqualTo(3888));
    }

    private static PackedModelPlan Plan(bool tiesPositions)
    {
        var (size, length) = CodebookSettings.SizesFor(1);
        var books = new CodebookSettings { CodebookSize = size, VectorLength = length, IsProduct = true, TiesPositions = tiesPositions, Pool = PoolUse.Auto };
        return new QuantizeSettings { Method = QuantizeMethod.Dpq, MethodName = "dpq", GroupSize = 0, Codebooks = books, Activations = ActivationMode.Float, PackAll = true }.Plan(s_xl);
    }

    /// <summary>Bits of a weight of the blocks, everything but biases counted.</summary>
    private static double BlockBits(PackedModelPlan plan)
    {
        var layers = DiTLayout.Layers(s_xl).Where(layer => layer.IsInBlock).ToArray();
        return 8.0 * layers.Sum(layer => plan.FormatOf(layer.Name).Tensors(layer.Name, layer.Shape, biasType: null).Sum(tensor => tensor.ByteCount)) / layers.Sum(layer => (long)layer.Shape[0] * layer.Inputs);
    }
}
