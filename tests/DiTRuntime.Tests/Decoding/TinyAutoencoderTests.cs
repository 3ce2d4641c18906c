using DiTRuntime.Backends;
using DiTRuntime.Decoding;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Decoding;

[TestFixture("cpu")]
[TestFixture("reference")]
internal sealed class TinyAutoencoderTests(string backend)
{
    /// <summary>fp32 through some thirty layers; the goldens ask for 1e-4.</summary>
    private const double Tolerance = 5e-6;

    private const int Width = 8;

    private readonly IDiTBackend _backend = TinyModel.CreateBackend(backend);

    [OneTimeTearDown]
    public void Close() => _backend.Dispose();

    [Test]
    public void Golden_latents_become_the_golden_images()
    {
        using var decoder = Load(TestCheckpoint.Golden(TestFiles.ThirdParty("taesd/taesd_decoder.safetensors")));
        var expected = GoldenTensors.Load(TestFiles.ThirdParty("taesd/expected.safetensors"));
        var shape = expected.Shape("latent");
        var (latents, images) = (expected.F32("latent"), expected.F32("image"));
        var (values, area) = (4 * shape[2] * shape[3], 64 * shape[2] * shape[3]);
        var pixels = new float[3 * area];
        decoder.Decode(latents.AsSpan(0, values), shape[2], shape[3], pixels);
        var unit = new float[pixels.Length];
        for (var i = 0; i < pixels.Length; i++) unit[i % 3 * area + i / 3] = (pixels[i] + 1) / 2;

        // The golden image keeps an offset near 1.2e-4 in every channel and a residue of 5e-5: what rounding the biases to
        // F16, as this file stores them, moves an image by. A double-precision computation from the file lands here too.
        Assert.That(Relative.Error(unit, images.AsSpan(0, unit.Length)), Is.LessThan(3e-4));
    }

    [TestCase(4, false)]
    [TestCase(16, false)]
    [TestCase(32, true)]
    public void Matches_a_naive_computation(int latentChannels, bool hasPool)
    {
        var tensors = Tensors(latentChannels, hasPool);
        using var decoder = Load(tensors);
        Assert.That((decoder.LatentChannels, decoder.ImageChannels, decoder.UpscaleFactor), Is.EqualTo((latentChannels, 3, 8)));
        var latent = TestTensor.Random("latent", 8, latentChannels * 3 * 2).Values;
        var pixels = new float[24 * 16 * 3];
        decoder.Decode(latent, 3, 2, pixels);
        Assert.That(Relative.Error(pixels, NaiveTinyAutoencoder.Decode(tensors, latent, 3, 2)), Is.LessThan(Tolerance));
        Assert.That(decoder.AllocatedBytes, Is.EqualTo(decoder.WorkingBytes(3, 2)));
    }

    [TestCase("decoder.", 0)]
    [TestCase("decoder.layers.", 1)]
    [TestCase("first_stage_model.decoder.", 0)]
    public void Other_spellings_decode_to_the_same_bits(string prefix, int offset)
    {
        var tensors = Tensors(4, hasPool: false);
        var latent = TestTensor.Random("latent", 8, 4 * 2 * 2).Values;
        var (expected, actual) = (new float[16 * 16 * 3], new float[16 * 16 * 3]);
        using (var decoder = Load(tensors)) decoder.Decode(latent, 2, 2, expected);

        var respelled = tensors.ConvertAll(t => t with { Name = Respell(t.Name, prefix, offset) });
        respelled.Add(TestTensor.Random(prefix.Replace("decoder.", "encoder.") + "1.conv.0.weight", 1, Width, Width, 3, 3));
        using (var decoder = Load(respelled)) decoder.Decode(latent, 2, 2, actual);
        Assert.That(actual, Is.EqualTo(expected));
    }

    [TestCase("1.weight", "tensor 1.weight is missing")]
    [TestCase("7.weight", "tensor 7.weight is missing")]
    [TestCase("9.conv.2.bias", "tensor 9.conv.2.bias is missing, expected [8]")]
    [TestCase("19.bias", "tensor 19.bias is missing, expected [3]")]
    public void Missing_tensor_is_named(string name, string problem) =>
        Assert.That(() => Load(Tensors(4, false).Where(t => t.Name != name)), Refused(problem));

    [Test]
    public void Missing_last_block_is_named() =>
        Assert.That(
            () => Load(Tensors(4, false).Where(t => !t.Name.StartsWith("18.", StringComparison.Ordinal))),
            Refused("tensor 18.conv.0.weight is missing"));

    [TestCase("10.conv.4.weight", "is [8,72], expected [8,8,3,3]")]
    [TestCase("12.weight", "is [8,72], expected a convolution [outputs,inputs,k,k]")]
    public void Misshapen_tensor_is_named_with_both_shapes(string name, string problem) =>
        Assert.That(
            () => Load(Tensors(4, false).Select(t => t.Name == name ? t with { Shape = [8, 72] } : t)),
            Refused($"tensor {name} {problem}"));

    [TestCase("12.bias")]
    [TestCase("extra")]
    [TestCase("3.skip.weight")]
    public void Unknown_tensor_is_named(string name) =>
        Assert.That(() => Load([.. Tensors(4, false), TestTensor.Random(name, 1, 8)]), Refused($"tensor {name} [8] is unknown"));

    [Test]
    public void Configuration_that_disagrees_is_refused() =>
        Assert.That(
            () => Load(Tensors(4, false), """{"_class_name": "AutoencoderTiny", "latent_channels": 16}"""),
            Refused("latent_channels is 16, the tensors have 4"));

    /// <summary>A decoder of the family's layout, eight channels wide, under the original's names.</summary>
    internal static List<TestTensor> Tensors(int latentChannels, bool hasPool)
    {
        List<TestTensor> tensors = [.. Convolution("1", latentChannels, Width)];
        foreach (var block in (ReadOnlySpan<int>)[3, 4, 5, 8, 9, 10, 13, 14, 15, 18])
        {
            foreach (var i in (ReadOnlySpan<int>)[0, 2, 4]) tensors.AddRange(Convolution($"{block}.conv.{i}", Width, Width));
            if (!hasPool || block > 5) continue;
            tensors.Add(TestTensor.Random($"{block}.pool.0.weight", 1, 4 * Width, Width, 1, 1));
            tensors.Add(TestTensor.Random($"{block}.pool.1.weight", 1, 4 * Width));
            tensors.Add(TestTensor.Random($"{block}.pool.1.bias", 1, 4 * Width));
            tensors.Add(TestTensor.Random($"{block}.pool.3.weight", 1, Width, 4 * Width, 1, 1));
        }

        foreach (var up in (ReadOnlySpan<int>)[7, 12, 17]) tensors.Add(TestTensor.Random($"{up}.weight", 0.5f, Width, Width, 3, 3));
        tensors.AddRange(Convolution("19", Width, 3));
        return tensors;
    }

    private static TestTensor[] Convolution(string name, int inputs, int outputs) =>
        [TestTensor.Random(name + ".weight", 0.5f, outputs, inputs, 3, 3), TestTensor.Random(name + ".bias", 0.5f, outputs)];

    private static string Respell(string name, string prefix, int offset)
    {
        var dot = name.IndexOf('.');
        return $"{prefix}{int.Parse(name[..dot]) - offset}{name[dot..]}";
    }

    private TinyAutoencoder Load(IEnumerable<TestTensor> tensors, string? config = null)
    {
        var metadata = config is null ? null : new Dictionary<string, string> { ["config.json"] = config };
        using var checkpoint = new TestCheckpoint(tensors, metadata);
        return TinyAutoencoder.Load(checkpoint, _backend);
    }

    private static NUnit.Framework.Constraints.ContainsConstraint Refused(string problem) =>
        Throws.InstanceOf<InvalidFileException>().With.Message.Contains(problem);
}
