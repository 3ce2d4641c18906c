using DiTRuntime.Decoding;

namespace DiTRuntime.Tests.Decoding;

internal sealed class PixelDecoderTests
{
    [Test]
    public void Channels_move_from_first_to_last()
    {
        using var decoder = new PixelDecoder(3);
        var pixels = new float[6];
        decoder.Decode([1, 2, 3, 4, 5, 6], 1, 2, pixels);
        Assert.That(pixels, Is.EqualTo(new float[] { 1, 3, 5, 2, 4, 6 }));
        Assert.That((decoder.LatentChannels, decoder.ImageChannels, decoder.UpscaleFactor), Is.EqualTo((3, 3, 1)));
    }

    [Test]
    public void Latents_are_no_pixels() =>
        Assert.That(() => new PixelDecoder(4), Throws.InstanceOf<UsageException>().With.Message.Contains("--vae"));

    [Test]
    public void Buffers_of_a_wrong_length_are_refused()
    {
        using var decoder = new PixelDecoder(1);
        Assert.That(() => decoder.Decode(new float[5], 2, 2, new float[4]), Throws.ArgumentException);
        Assert.That(() => decoder.Decode(new float[4], 2, 2, new float[5]), Throws.ArgumentException);
    }
}
