using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Models;

/// <summary>Sizes follow from names and shapes alone.</summary>
public sealed class PackedModelPlanTests
{
    private const double Mega = 1e6;

    private static readonly DiTConfig s_xl = DiTConfigs.Parse("DiT-XL/2");

    /// <summary>Megabytes of DiT-XL/2 (reference/methods.md §0.3; derived by hand in docs/file-format.md).</summary>
    [TestCase(4, 32, 398.6)]
    [TestCase(4, 64, 372.5)]
    [TestCase(4, 128, 359.4)]
    [TestCase(4, 192, 355.1)]
    [TestCase(4, 288, 352.2)]
    public void XL_takes_the_bytes_that_the_arithmetic_says(int bits, int group, double megabytes) =>
        Assert.That(Bytes(PackedModelPlan.Uniform(s_xl, new GroupFormat(bits, group))) / Mega, Is.EqualTo(megabytes).Within(0.1).Percent);

    [Test]
    public void XL_of_4_bits_in_groups_of_128_takes_at_most_359_and_a_half_megabytes() =>
        Assert.That(Bytes(PackedModelPlan.Uniform(s_xl, new GroupFormat(4, 128), ActivationMode.Dynamic)), Is.EqualTo(359_442_496).And.LessThan(359_500_000));

    [Test]
    public void XL_with_adaLN_in_half_precision_shows_why_it_is_packed()
    {
        var plan = PackedModelPlan.Uniform(s_xl, new GroupFormat(4, 128));
        var formats = plan.Formats.Where(entry => !entry.Key.Contains("adaLN", StringComparison.Ordinal)).ToDictionary();
        Assert.That(Bytes(plan with { Formats = formats }) / Mega, Is.EqualTo(689.5).Within(0.1).Percent);
    }

    [Test]
    public void XL_in_half_precision_takes_twice_its_parameters() =>
        Assert.That(Bytes(new PackedModelPlan(s_xl, new Dictionary<string, LayerFormat>())), Is.EqualTo(2 * 674_834_720L));

    [Test]
    public void XL_with_8_bits_in_every_layer_takes_what_its_tensors_take()
    {
        // 8 bits a weight, 3 bytes a row (scale and zero point) and 2 a bias.
        long weights = 0, rows = 0, biases = 0;
        foreach (var layer in DiTLayout.Layers(s_xl))
        {
            weights += layer.Shape.Aggregate(1L, (a, b) => a * b);
            rows += layer.Shape[0];
            if (layer.HasBias) biases += layer.Shape[0];
        }

        Assert.That(Bytes(PackedModelPlan.Uniform(s_xl, new GroupFormat(8, 0), packAll: true)), Is.EqualTo(weights + 3 * rows + 2 * biases));
    }

    [Test]
    public void A_file_has_the_length_of_its_plan([Values(2, 3, 4, 5, 6, 8)] int bits, [Values(0, 24, 64)] int group, [Values] ActivationMode activations, [Values] bool packAll)
    {
        using var folder = new TestFolder();
        var path = PackedFiles.Write(folder["m.safetensors"], new GroupFormat(bits, group), activations, packAll);
        using var source = PackedFiles.Tiny();
        using var file = File.OpenRead(path);
        var header = new byte[8];
        file.ReadExactly(header);
        Assert.That(file.Length, Is.EqualTo(8 + BitConverter.ToInt64(header) + Bytes(PackedModelPlan.Uniform(source.Config, new GroupFormat(bits, group), activations, packAll))));
    }

    private static long Bytes(PackedModelPlan plan) => plan.Tensors().Sum(tensor => tensor.ByteCount);
}
