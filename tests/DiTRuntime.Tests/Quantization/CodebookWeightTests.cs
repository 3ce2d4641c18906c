using DiTRuntime.Quantization;
using DiTRuntime.Tests.Backends;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Quantization;

/// <summary>A codebook weight holds what was packed, survives its file, and refuses what makes no sense.</summary>
internal sealed class CodebookWeightTests
{
    private static readonly CodebookFormat[] s_formats =
    [
        new(256, 4), new(3, 2) { Parts = 3 }, new(1000, 5) { HasRowScales = true }, new(65_536, 8), new(2, 6), new(130, 7) { Parts = 6, HasRowScales = true },
        new(256, 8) { IsProduct = true }, new(20, 3) { IsProduct = true, PoolSize = 31, HasRowScales = true }, new(1700, 2) { IsProduct = true, PoolSize = 66_000 },
    ];

    private static readonly Half s_one = (Half)1;

    [Test]
    public void Rows_are_those_of_the_plain_formula([ValueSource(nameof(s_formats))] CodebookFormat format)
    {
        using var weights = new RandomWeights(2);
        var inputs = 40 * format.VectorLength;
        var (weight, expected) = weights.Codebook(12, inputs, format);
        var values = new float[5 * inputs];
        weight.CopyRows(6, 5, values);
        Assert.That(values, Is.EqualTo(expected[(6 * inputs)..(11 * inputs)]));
    }

    [Test]
    public void Codebooks_of_8_bits_are_what_rows_then_hold()
    {
        Half[] vectors = [(Half)0.5, (Half)(-1.27), (Half)0, (Half)0.0149, (Half)0.0151, (Half)1];
        var weight = CodebookWeight.Pack("l", 1, 6, null, new CodebookFormat(3, 2), [0, 1, 2], vectors, activations: new ActivationFormat(0));
        var t = (float)(Half)1.27 / 127;
        var values = new float[6];
        weight.CopyRows(0, 1, values);
        Assert.That(weight.IntegerScale, Is.EqualTo(t));
        Assert.That(values, Is.EqualTo(new[] { 50 * t, -127 * t, 0, t, 2 * t, 100 * t }).Within(1e-7f));
    }

    [Test]
    public void Part_file_gives_the_weight_back([ValueSource(nameof(s_formats))] CodebookFormat format)
    {
        using var folder = new TestFolder();
        using var weights = new RandomWeights(3);
        var (weight, expected) = weights.Codebook(12, 40 * format.VectorLength, format, new ActivationFormat(2 * format.VectorLength));
        new PackedLayer(weight).Save(folder["part.safetensors"]);
        var read = PackedLayer.Load(folder["part.safetensors"]);
        read.Save(folder["again.safetensors"]);
        Assert.That(read.Weight.LayerFormat, Is.EqualTo(weight.LayerFormat));
        Assert.That(File.ReadAllBytes(folder["again.safetensors"]), Is.EqualTo(File.ReadAllBytes(folder["part.safetensors"])));
        var values = new float[expected.Length];
        weight.CopyRows(0, 12, values);
        var again = new float[expected.Length];
        read.Weight.CopyRows(0, 12, again);
        Assert.That(again, Is.EqualTo(values));
    }

    [Test]
    public void What_makes_no_sense_is_refused()
    {
        var format = new CodebookFormat(3, 2);
        Half[] vectors = [.. Enumerable.Repeat(s_one, 6)];
        void Refused(string words, CodebookFormat format, ushort[] codes, Half[] vectors, uint[]? table = null, Half[]? scales = null) =>
            Assert.That(() => CodebookWeight.Pack("l", 2, 4, null, format, codes, vectors, table, scales), Throws.ArgumentException.With.Message.Contains(words));
        Refused("code 3 of 3", format, [0, 1, 2, 3], vectors);
        Refused("3 codes", format, [0, 1, 2], vectors);
        Refused("5 values", format, [0, 1, 2, 0], vectors[..5]);
        Refused("0 numbers", new CodebookFormat(3, 2) { IsProduct = true, PoolSize = 3 }, [0, 1, 2, 0], vectors);
        Refused("number 3 of a pool of 3", new CodebookFormat(3, 2) { IsProduct = true, PoolSize = 3 }, [0, 1, 2, 0], vectors, [0, 1, 2, 0, 1, 3]);
        Refused("not finite", format, [0, 1, 2, 0], [.. vectors[..5], Half.NaN]);
        Refused("not finite", format, [0, 1, 2, 0], [.. vectors[..5], Half.NegativeInfinity]);
        Refused("0 scales", format with { HasRowScales = true }, [0, 1, 2, 0], vectors);
        Refused("positive and finite", format with { HasRowScales = true }, [0, 1, 2, 0], vectors, null, [s_one, Half.Zero]);
        Refused("positive and finite", format with { HasRowScales = true }, [0, 1, 2, 0], vectors, null, [s_one, Half.NaN]);
        Refused("k 1", new CodebookFormat(1, 2), [0, 0, 0, 0], vectors[..2]);
        Refused("d 3 does not divide", new CodebookFormat(2, 3), [0, 0], vectors);
    }

    [Test]
    public void Codebook_of_zeros_has_a_scale()
    {
        var weight = CodebookWeight.Pack("l", 1, 4, null, new CodebookFormat(2, 2), [0, 1], new Half[4]);
        Assert.That(weight.IntegerScale, Is.EqualTo(1));
    }
}
