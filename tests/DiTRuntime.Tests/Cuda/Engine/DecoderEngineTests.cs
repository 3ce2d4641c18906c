using DiTRuntime.Decoding;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary>Latents to pixels on the engine.</summary>
[TestFixture]
internal sealed class DecoderEngineTests
{
    /// <summary>Thirty layers of halves; each rounds by 2^-12 on average, group norms keep the scale.</summary>
    private const double Tolerance = 5e-3;

    private const int Values = 4 * 4 * 4;
    private const int Pixels = 32 * 32 * 3;

    [Test]
    public void Golden_latents_become_the_golden_images([Values(64, 3)] int tileSide)
    {
        using var backend = EmulatedEngine.Create();
        using var decoder = ImageDecoders.Open(TestFiles.Golden("vae"), backend);
        var expected = GoldenTensors.Load(TestFiles.Golden("vae/expected.safetensors"));
        var (latents, images) = (expected.F32("latent"), expected.F32("image"));
        var pixels = new float[Pixels];
        decoder.TileSide = tileSide;
        decoder.Decode(latents.AsSpan(0, Values), 4, 4, pixels);
        var channelsFirst = new float[Pixels];
        for (var i = 0; i < Pixels; i++) channelsFirst[i % 3 * (Pixels / 3) + i / 3] = pixels[i];
        // Tiles see other neighbours at their borders, and other group statistics: alike, not the same.
        Assert.That(Relative.Error(channelsFirst, images.AsSpan(0, Pixels)), Is.LessThan(tileSide == 64 ? Tolerance : 0.5));
    }
}
