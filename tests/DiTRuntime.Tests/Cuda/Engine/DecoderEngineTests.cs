using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Decoding;
using DiTRuntime.Tests.Decoding;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary>Latents to pixels on the engine.</summary>
[TestFixture]
[Category(TestDevice.Category)]
internal sealed class DecoderEngineTests
{
    /// <summary>Thirty layers of halves; each rounds by 2^-12 on average, group norms keep the scale.</summary>
    private const double Tolerance = 5e-3;

    private const int Values = 4 * 4 * 4;
    private const int Pixels = 32 * 32 * 3;

    [Test]
    public void Golden_latents_become_the_golden_images()
    {
        using var backend = EmulatedEngine.Create();
        var expected = GoldenTensors.Load(TestFiles.Golden("vae/expected.safetensors"));
        var pixels = Decode(backend, expected.F32("latent"), 64);
        Assert.That(Relative.Error(AutoencoderKlTests.ChannelsFirst(pixels), expected.F32("image").AsSpan(0, Pixels)), Is.LessThan(Tolerance));
    }

    [Test]
    public void Tiles_are_those_of_the_cpu()
    {
        using var engine = EmulatedEngine.Create();
        using var cpu = CpuBackend.Create(new CpuOptions(2));
        var latents = GoldenTensors.Load(TestFiles.Golden("vae/expected.safetensors")).F32("latent");
        Assert.That(Relative.Error(Decode(engine, latents, 3), Decode(cpu, latents, 3)), Is.LessThan(Tolerance));
    }

    private static float[] Decode(IDiTBackend backend, float[] latents, int tileSide)
    {
        using var decoder = ImageDecoders.Open(TestFiles.Golden("vae"), backend);
        decoder.TileSide = tileSide;
        var pixels = new float[Pixels];
        decoder.Decode(latents.AsSpan(0, Values), 4, 4, pixels);
        return pixels;
    }
}
