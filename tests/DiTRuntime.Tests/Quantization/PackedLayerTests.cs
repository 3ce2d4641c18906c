using DiTRuntime.Quantization;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Quantization;

public sealed class PackedLayerTests
{
    [Test]
    public void A_part_file_gives_the_layer_back([Values(3, 4, 8)] int bits, [Values(0, 24, 32)] int group, [Values] ActivationMode activations)
    {
        using var folder = new TestFolder();
        using var source = PackedFiles.Tiny();
        var layer = PackedFiles.Round(source.Blocks[1].Fc2, new LayerFormat(new GroupFormat(bits, group), activations));
        layer.Save(folder["part.safetensors"]);
        var read = PackedLayer.Load(folder["part.safetensors"]);
        read.Save(folder["again.safetensors"]);
        Assert.That(read.Weight.LayerFormat, Is.EqualTo(layer.Weight.LayerFormat));
        Assert.That(read.Weight.Activations?.StaticScales, Is.EqualTo(layer.Weight.Activations?.StaticScales));
        Assert.That(File.ReadAllBytes(folder["again.safetensors"]), Is.EqualTo(File.ReadAllBytes(folder["part.safetensors"])));
    }

    [Test]
    public void A_layer_without_bias_gives_itself_back()
    {
        using var folder = new TestFolder();
        using var source = PackedFiles.Tiny();
        LayerQuantizer.RoundToNearest(source.LabelTable, new GroupFormat(8, 32)).Save(folder["part.safetensors"]);
        Assert.That(PackedLayer.Load(folder["part.safetensors"]).Weight.Bias, Is.Null);
    }

    [Test]
    public void A_weight_holds_what_was_packed([Values(2, 3, 4, 5, 6, 8)] int bits, [Values(0, 32, 40)] int group)
    {
        const int N = 5, K = 96;
        var format = new GroupFormat(bits, group);
        var grid = format.Grid(K);
        var random = new Random(bits);
        byte[] codes = [.. Enumerable.Range(0, N * K).Select(_ => (byte)random.Next(format.MaxCode + 1))];
        byte[] zeros = [.. Enumerable.Range(0, N * grid.Count).Select(_ => (byte)random.Next(format.MaxCode + 1))];
        Half[] scales = [.. Enumerable.Range(0, N * grid.Count).Select(i => (Half)(0.01 * (i + 1)))];
        var weight = PackedLayer.Pack("l", N, K, format, codes, [.. scales], zeros).Weight;
        var values = new float[N * K];
        weight.CopyRows(0, N, values);
        for (var i = 0; i < values.Length; i++)
        {
            var g = i / K * grid.Count + i % K / grid.Size;
            Assert.That(values[i], Is.EqualTo((float)scales[g] * (codes[i] - zeros[g])));
        }

        Assert.That(((GroupWeight)weight).Zeros, Is.EqualTo(zeros));
    }

    [Test]
    public void What_does_not_fit_is_refused()
    {
        var format = new GroupFormat(4, 32);
        Half[] scales = [(Half)1, (Half)1];
        Assert.That(() => PackedLayer.Pack("l", 1, 64, format, new byte[63], scales, new byte[2]), Throws.ArgumentException);
        Assert.That(() => PackedLayer.Pack("l", 1, 64, format, new byte[64], scales, new byte[1]), Throws.ArgumentException);
        Assert.That(() => PackedLayer.Pack("l", 1, 64, format, new byte[64], [(Half)1, Half.NaN], new byte[2]), Throws.ArgumentException);
        Assert.That(() => PackedLayer.Pack("l", 1, 64, format, new byte[64], scales, new byte[2], new float[2]), Throws.ArgumentException);
        Assert.That(() => PackedLayer.Pack("l", 1, 64, format, new byte[64], scales, new byte[2], activations: new ActivationFormat(64)), Throws.ArgumentException);
    }
}
