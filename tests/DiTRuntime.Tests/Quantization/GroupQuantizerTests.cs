using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Quantization;

public sealed class GroupQuantizerTests
{
    private static readonly int[] s_bits = GroupFormat.AllBits.ToArray();

    /// <summary>Lengths round the width of vectors, and those of the published groups.</summary>
    private static readonly int[] s_lengths = [1, 7, 8, 31, 32, 33, 64, 96, 128, 192, 288, 1000];

    [Test]
    public void Codes_follow_the_formula([ValueSource(nameof(s_bits))] int bits, [ValueSource(nameof(s_lengths))] int length, [Values(0f, 3f, -3f)] float mean)
    {
        var group = Array.ConvertAll(Gaussian.Values(length, bits * length), w => 0.02f * (w + mean));
        var (scale, zero) = GroupQuantizer.FindRange(group, bits);
        var codes = new byte[length];
        GroupQuantizer.Quantize(group, scale, zero, bits, codes);

        // The formula in double precision, with 0 in the range and the scale as F16 keeps it.
        var (min, max, most) = (Math.Min(group.Min(), 0.0), Math.Max(group.Max(), 0.0), Math.Pow(2, bits) - 1);
        var s = (double)(Half)((max - min) / most);
        var z = Math.Clamp(Math.Round(-min / s), 0, most);
        Assert.That((double)scale, Is.EqualTo(s).Within(Math.Pow(2, -10)).Percent);
        Assert.That((double)zero, Is.EqualTo(z));
        for (var i = 0; i < length; i++)
        {
            var exact = group[i] / s + z;
            // What lies halfway between two codes to fp32's precision may go to either.
            var tie = Math.Abs(Math.Abs(exact - Math.Floor(exact)) - 0.5) < 1e-4;
            Assert.That((double)codes[i], Is.EqualTo(Math.Clamp(Math.Round(group[i] / s) + z, 0, most)).Within(tie ? 1 : 0), $"{group[i]}");
            Assert.That(codes[i], Is.EqualTo(GroupQuantizer.Quantize(group[i], scale, zero, bits)), "one by one");
        }
    }

    [Test]
    public void Values_come_back_within_half_a_step([ValueSource(nameof(s_bits))] int bits)
    {
        var group = Gaussian.Values(96, bits);
        var (scale, zero) = GroupQuantizer.FindRange(group, bits);
        // Half a step, another half where the rounded zero point shifts the range, and what the scale lost in F16.
        var bound = (float)scale * (1 + (1 << bits) / 2048f);
        foreach (var w in group)
            Assert.That(GroupQuantizer.Dequantize(GroupQuantizer.Quantize(w, scale, zero, bits), scale, zero), Is.EqualTo(w).Within(bound));
    }

    [TestCase(0f, 0f)]
    [TestCase(0f, 1e-30f)]
    [TestCase(-1e-7f, 1e-7f)]
    [TestCase(1e-6f, 2e-6f)]
    [TestCase(-3.4e38f, 3.4e38f)]
    [TestCase(-1e7f, 0f)]
    [TestCase(float.Epsilon, float.Epsilon)]
    public void Scale_is_positive_and_finite_for_any_range(float min, float max)
    {
        foreach (var bits in s_bits)
        {
            var (scale, zero) = GroupQuantizer.Range(min, max, bits);
            Assert.That((float)scale, Is.GreaterThan(0).And.LessThanOrEqualTo(65504));
            Assert.That(zero, Is.LessThan(1 << bits));
            Assert.That(GroupQuantizer.Dequantize(GroupQuantizer.Quantize(0, scale, zero, bits), scale, zero), Is.Zero, "zero stays zero");
        }
    }

    [Test]
    public void Scale_below_the_normal_range_of_F16_still_covers_the_group()
    {
        for (var max = 1e-7f; max < 1e-4f; max *= 1.1f)
        {
            var (scale, _) = GroupQuantizer.Range(0, max, 4);
            Assert.That((float)scale * 15, Is.GreaterThanOrEqualTo(max));
        }
    }

    [Test]
    public void Search_finds_the_least_error_of_all_steps([ValueSource(nameof(s_bits))] int bits, [Values(33, 128)] int length)
    {
        var group = Gaussian.Values(length, bits + length);
        double Error((Half Scale, byte Zero) range) =>
            group.Sum(w => Math.Pow(Math.Abs(w - (double)GroupQuantizer.Dequantize(GroupQuantizer.Quantize(w, range.Scale, range.Zero, bits), range.Scale, range.Zero)), 2.4));
        var least = Enumerable.Range(0, 100).Min(step => Error(GroupQuantizer.Range(group.Min() * (1 - step / 100f), group.Max() * (1 - step / 100f), bits)));
        Assert.That(Error(GroupQuantizer.SearchRange(group, bits)), Is.EqualTo(least).Within(0.01).Percent);
    }

    [Test]
    public void Search_beats_the_full_range_at_low_bits()
    {
        var group = Gaussian.Values(1152, 1);
        Assert.That((float)GroupQuantizer.SearchRange(group, 2).Scale, Is.LessThan(0.8f * (float)GroupQuantizer.FindRange(group, 2).Scale));
    }
}
