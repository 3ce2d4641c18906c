using System.Runtime.InteropServices;
using DiTRuntime.Backends;
using DiTRuntime.Decoding;
using DiTRuntime.Exporter;
using DiTRuntime.Imaging;
using DiTRuntime.Models;
using DiTRuntime.Sampling;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Cli;
using DiTRuntime.Tests.Cuda;
using DiTRuntime.Tests.Cuda.Engine;
using DiTRuntime.Tests.Decoding;

namespace DiTRuntime.Tests.Exporter.Cuda;

/// <summary>Plan and player on the emulated device draw the engine's images, bit for bit.</summary>
[TestFixture]
[Category(TestDevice.Category)]
internal sealed class PlayerTests
{
    private TestFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TestFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void Guided_images_are_the_engines([Values("f16", "w8a8-g96", "w4a8-g96", "w8a8-g0", "k256-d4-a8-g96", "k256-d4-all")] string format)
    {
        // Three images in batches of two: the second batch is one image in the smaller shape. Three steps in windows of two.
        var source = new ExportSource("digits", () => DigitModels.Open(format), null);
        AssertSameImages(source, new PlayedRun(3, "ddim", 2, 5, [3, 7, 3]), settings => settings with { Batch = 2 });
    }

    [Test]
    public void Noise_and_an_unguided_batch_that_is_not_full_are_the_engines()
    {
        var source = new ExportSource("digits", () => DigitModels.Open("w4a8-g96"), null);
        AssertSameImages(source, new PlayedRun(4, "ddpm", 1, 9, [1, 0]), settings => settings with { Batch = 3 });
    }

    [TestCase("official.safetensors", Compatibility.Official)]
    [TestCase("diffusers", Compatibility.Diffusers)]
    public void Decoded_images_are_the_engines(string layout, Compatibility compatibility)
    {
        var source = new ExportSource("tiny", () => DiTWeightsLoader.Load(Path.Combine(TestFiles.Golden("tiny"), layout), new DiTLoadOptions { HeadCount = 2 }), TestFiles.Golden("vae"));
        AssertSameImages(source, new PlayedRun(3, "ddpm", 4, 3, [5]), settings => settings with { Compatibility = compatibility });
    }

    [Test]
    public void Images_of_a_tiny_autoencoder_are_the_engines()
    {
        var file = RawSafetensors.Empty();
        foreach (var tensor in TinyAutoencoderTests.Tensors(4, hasPool: false)) file.Add(tensor.Name, tensor.Shape, tensor.Values);
        var source = new ExportSource("tiny", () => DiTWeightsLoader.Load(TestFiles.Golden("tiny/official.safetensors"), new DiTLoadOptions { HeadCount = 2 }), file.Save(_folder["taesd.safetensors"]));
        AssertSameImages(source, new PlayedRun(2, "ddim", 1, 3, [5]));
    }

    [TestCase("f16")]
    [TestCase("w4a8-g96")]
    public void An_exported_folder_verifies_block_by_block_and_notices_a_flipped_bit(string format)
    {
        var source = new ExportSource("digits", () => DigitModels.Open(format), null);
        var folder = _folder["export"];
        ModelExport.Write(source, new ExportSettings { Target = ExportTarget.Cuda, Architectures = ["emulated"], OutputFolder = folder, Steps = 2, GuidanceScale = 2 });
        var program = Player.BuildFolder(folder, _folder["dit"]);
        var (code, text) = HostC.Run(program, "verify", folder);
        Assert.That(code, Is.Zero, text);
        Assert.That(text, Does.Contain("worst error of a block").And.Contain("cuda: emulated device"));

        var weights = File.ReadAllBytes(Path.Combine(folder, "weights.dit"));
        weights[^20_000] ^= 0x40;
        File.WriteAllBytes(Path.Combine(folder, "weights.dit"), weights);
        Assert.That(HostC.Run(program, "verify", folder).Code, Is.Not.Zero);
    }

    [Test]
    public void A_limit_on_memory_counts_the_devices_too()
    {
        var source = new ExportSource("digits", () => DigitModels.Open("f16"), null);
        var weights = Player.Export(_folder, source);
        var (code, text) = Player.Run(Player.Emulated, weights, _folder["out"], new PlayedRun(1, "ddim", 1, 0, [1]), ("PLAY_MAX_MEMORY", "9000000"));
        Assert.That((code, text), Is.EqualTo((4, text)));
        Assert.That(text, Does.Contain("GPU memory").And.Contain("9000000"));
    }

    private void AssertSameImages(ExportSource source, PlayedRun run, Func<ExportSettings, ExportSettings>? change = null)
    {
        var compatibility = (change?.Invoke(new ExportSettings { Target = ExportTarget.Cuda, OutputFolder = "" }))?.Compatibility ?? Compatibility.Official;
        var weights = Player.Export(_folder, source, change);
        using var engine = EmulatedEngine.Create();
        var expected = Draw(engine, source, run, compatibility);
        var (code, text) = Player.Run(Player.Emulated, weights, _folder["out"], run);
        Assert.That(code, Is.Zero, text);
        var actual = Player.Read(_folder["out"], expected[0].Latent.Length, expected[0].Pixels.Length);
        Assert.That(actual, Has.Length.EqualTo(expected.Length));
        for (var i = 0; i < actual.Length; i++)
        {
            Assert.That(MemoryMarshal.AsBytes<float>(actual[i].Latent).SequenceEqual(MemoryMarshal.AsBytes<float>(expected[i].Latent)), $"latent of image {i}");
            Assert.That(actual[i].Pixels, Is.EqualTo(expected[i].Pixels), $"pixels of image {i}");
        }
    }

    /// <summary>Draws with the C# engine.</summary>
    internal static (float[] Latent, byte[] Pixels)[] Draw(IDiTBackend backend, ExportSource source, PlayedRun run, Compatibility compatibility)
    {
        using var model = new DiTModel(source.OpenWeights(), backend, compatibility);
        using var decoder = source.DecoderPath is { } path ? ImageDecoders.Open(path, backend) : new PixelDecoder(model.Config.InChannels);
        var diffusers = compatibility == Compatibility.Diffusers;
        var spacing = run.Sampler == "ddpm" ? TimestepSpacing.Linspace : TimestepSpacing.Leading;
        var plan = SamplingPlan.Create(run.Sampler, spacing.Respace(diffusers ? NoiseSchedule.LinearSingle() : NoiseSchedule.Linear(), run.Steps), 0, model.Config.LearnsVariance);
        var guidedChannels = diffusers ? model.Config.InChannels : Math.Min(3, model.Config.InChannels);
        var images = new List<(float[], byte[])>();
        new DiTPipeline(model, decoder).Generate(
            [.. Enumerable.Range(0, run.Labels.Length)], run.Labels, new SamplingSettings(plan, new ImageNoise(run.Seed), run.Guidance, guidedChannels), run.Labels.Length,
            image =>
            {
                var pixels = new byte[image.Pixels!.Length];
                PixelConversion.ToBytes(image.Pixels, pixels, diffusers ? PixelRounding.Nearest : PixelRounding.Truncate);
                images.Add((image.Latent, pixels));
            });
        return [.. images];
    }
}
