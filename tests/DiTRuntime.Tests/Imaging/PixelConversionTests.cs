using DiTRuntime.Imaging;

namespace DiTRuntime.Tests.Imaging;

internal sealed class PixelConversionTests
{
    // −1 gives 127.5·(−1) + 128 = 0.5 → 0; 0 gives 128; 1 gives 255.5, clamped.
    [TestCase(-1f, 0)]
    [TestCase(0f, 128)]
    [TestCase(1f, 255)]
    [TestCase(-0.9999f, 0)]
    [TestCase(0.9921f, 254)]
    [TestCase(-7f, 0)]
    [TestCase(7f, 255)]
    [TestCase(float.NaN, 0)]
    [TestCase(float.PositiveInfinity, 255)]
    public void The_published_script_truncates(float value, byte expected) =>
        Assert.That(Convert(value, PixelRounding.Truncate), Is.EqualTo(expected));

    // 0 gives 127.5, which rounds to even.
    [TestCase(-1f, 0)]
    [TestCase(0f, 128)]
    [TestCase(1f, 255)]
    [TestCase(-0.9999f, 0)]
    [TestCase(0.9921f, 254)]
    [TestCase(-0.004f, 127)]
    [TestCase(-7f, 0)]
    [TestCase(7f, 255)]
    [TestCase(float.NaN, 0)]
    public void Diffusers_rounds(float value, byte expected) =>
        Assert.That(Convert(value, PixelRounding.Nearest), Is.EqualTo(expected));

    [Test]
    public void Both_agree_with_double_precision_away_from_the_edges()
    {
        for (var b = 0; b < 255; b++)
        {
            Assert.That(Convert((float)((b + 0.25 - 128) / 127.5), PixelRounding.Truncate), Is.EqualTo(b));
            Assert.That(Convert((float)((b + 0.25) / 255 * 2 - 1), PixelRounding.Nearest), Is.EqualTo(b));
        }
    }

    [Test]
    public void Images_keep_their_layout()
    {
        var image = PixelConversion.ToImage([-1, 0, 1, 1, 0, -1], 2, 1, 3);
        Assert.That(image.Pixels, Is.EqualTo(new byte[] { 0, 128, 255, 255, 128, 0 }));
    }

    [Test]
    public void Extents_that_do_not_match_are_refused()
    {
        Assert.That(() => PixelConversion.ToImage(new float[5], 2, 1, 3), Throws.ArgumentException);
        Assert.That(() => new Image(1, 1, 2, new byte[2]), Throws.ArgumentException);
    }

    private static byte Convert(float value, PixelRounding rounding)
    {
        Span<byte> result = stackalloc byte[1];
        PixelConversion.ToBytes([value], result, rounding);
        return result[0];
    }
}
