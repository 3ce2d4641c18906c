using System.Text.Json;
using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Decoding;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Decoding;

[TestFixture("cpu")]
[TestFixture("reference")]
internal sealed class AutoencoderKlTests(string backend)
{
    /// <summary>fp32 through some thirty layers; the goldens ask for 1e-4.</summary>
    private const double Tolerance = 5e-6;

    private const int Values = 4 * 4 * 4;
    private const int Pixels = 32 * 32 * 3;

    private static readonly List<TestTensor> s_golden = TestCheckpoint.Golden(TestFiles.Golden("vae/diffusion_pytorch_model.safetensors"));

    private readonly IDiTBackend _backend = TinyModel.CreateBackend(backend);

    [OneTimeTearDown]
    public void Close() => _backend.Dispose();

    [Test]
    public void Golden_latents_become_the_golden_images()
    {
        using var decoder = Load(s_golden);
        var expected = GoldenTensors.Load(TestFiles.Golden("vae/expected.safetensors"));
        var (latents, images) = (expected.F32("latent"), expected.F32("image"));
        var pixels = new float[Pixels];
        for (var i = 0; i < 2; i++)
        {
            decoder.Decode(latents.AsSpan(i * Values, Values), 4, 4, pixels);
            Assert.That(Relative.Error(ChannelsFirst(pixels), images.AsSpan(i * Pixels, Pixels)), Is.LessThan(Tolerance));
        }

        Assert.That((decoder.LatentChannels, decoder.ImageChannels, decoder.UpscaleFactor), Is.EqualTo((4, 3, 8)));
    }

    [TestCase("diffusers_old", "")]
    [TestCase("compvis", "")]
    [TestCase("compvis", "first_stage_model.")]
    public void Other_spellings_decode_to_the_same_bits(string spelling, string prefix)
    {
        var latent = TestTensor.Random("latent", 2, 4 * 2 * 2).Values;
        var (expected, actual) = (new float[16 * 16 * 3], new float[16 * 16 * 3]);
        using (var decoder = Load(s_golden)) decoder.Decode(latent, 2, 2, expected);

        List<TestTensor> respelled = [.. Respell(spelling).Select(t => t with { Name = prefix + t.Name })];
        // What a whole training checkpoint holds besides.
        respelled.Add(TestTensor.Random(prefix + "encoder.conv_in.weight", 1, 8, 3, 3, 3));
        respelled.Add(TestTensor.Random(prefix + "quant_conv.weight", 1, 8, 8, 1, 1));
        respelled.Add(TestTensor.Random(prefix + "loss.logvar", 1, 1));
        if (prefix.Length > 0) respelled.Add(TestTensor.Random("model.diffusion_model.out.2.bias", 1, 4));
        using (var decoder = Load(respelled)) decoder.Decode(latent, 2, 2, actual);
        Assert.That(actual, Is.EqualTo(expected));
    }

    [Test]
    public void Latent_convolution_is_optional()
    {
        using var decoder = Load(s_golden.Where(t => !t.Name.StartsWith("post_quant_conv", StringComparison.Ordinal)));
        Assert.That(decoder.LatentChannels, Is.EqualTo(4));
    }

    [Test]
    public void Scaling_factor_of_the_configuration_divides_the_latent()
    {
        var latent = TestTensor.Random("latent", 2, 4).Values;
        var (expected, actual) = (new float[8 * 8 * 3], new float[8 * 8 * 3]);
        using (var decoder = Load(s_golden)) decoder.Decode(latent, 1, 1, expected);
        var scaled = Array.ConvertAll(latent, value => value * 2);
        using (var decoder = Load(s_golden, """{"_class_name": "AutoencoderKL", "scaling_factor": 0.3643}""")) decoder.Decode(scaled, 1, 1, actual);
        Assert.That(Relative.Error(actual, expected), Is.LessThan(1e-5));
    }

    [Test]
    public void Published_configuration_agrees()
    {
        using var decoder = Load(s_golden, File.ReadAllText(TestFiles.Golden("vae/config.json")));
        Assert.That(decoder.Description, Is.EqualTo("AutoencoderKL, 4 latent channels, ×8"));
    }

    [TestCase("""{"_class_name": "AutoencoderKL", "block_out_channels": [32, 64, 64, 128]}""", "block_out_channels is [32,64,64,128], the tensors have [32,64,128,128]")]
    [TestCase("""{"_class_name": "AutoencoderKL", "latent_channels": 8}""", "latent_channels is 8, the tensors have 4")]
    [TestCase("""{"_class_name": "AutoencoderKL", "norm_num_groups": 48}""", "128 channels, which do not divide into 48 groups")]
    [TestCase("""{"_class_name": "AutoencoderKL", "norm_num_groups": -1}""", "norm_num_groups is -1, expected a positive integer")]
    [TestCase("""{"_class_name": "AutoencoderKL", "scaling_factor": 0}""", "scaling_factor is 0")]
    [TestCase("""{"_class_name": "AutoencoderKL", "scaling_factor": "big"}""", "scaling_factor is \"big\", expected a number")]
    [TestCase("""{"_class_name": "\ud800"}""", "not valid JSON")]
    [TestCase("{", "not valid JSON")]
    [TestCase("[]", "expected a JSON object")]
    public void Configuration_that_disagrees_is_refused(string config, string problem) =>
        Assert.That(() => Load(s_golden, config), Refused(problem));

    [Test]
    public void Configuration_of_another_model_is_left_alone()
    {
        using var decoder = Load(s_golden, """{"_class_name": "DiTTransformer2DModel", "norm_num_groups": 48}""");
        Assert.That(decoder.UpscaleFactor, Is.EqualTo(8));
    }

    [TestCase("decoder.conv_in.weight", "is missing")]
    [TestCase("decoder.conv_in.bias", "is missing, expected [128]")]
    [TestCase("decoder.mid_block.attentions.0.to_k.weight", "is missing")]
    [TestCase("decoder.up_blocks.1.resnets.2.conv2.weight", "is missing, expected [128,128,3,3]")]
    [TestCase("decoder.up_blocks.1.upsamplers.0.conv.bias", "is missing, expected [128]")]
    [TestCase("decoder.up_blocks.2.resnets.0.conv_shortcut.weight", "is missing, expected [64,128,1,1]")]
    [TestCase("decoder.conv_norm_out.bias", "is missing, expected [32]")]
    public void Missing_tensor_is_named(string name, string problem) =>
        Assert.That(() => Load(s_golden.Where(t => t.Name != name)), Refused($"tensor {name} {problem}"));

    [Test]
    public void Missing_level_is_named() =>
        Assert.That(
            () => Load(s_golden.Where(t => !t.Name.StartsWith("decoder.up_blocks.1.", StringComparison.Ordinal))),
            Refused("tensor decoder.up_blocks.1.resnets.0.conv1.weight is missing"));

    [TestCase("decoder.up_blocks.0.resnets.1.norm1.weight", new[] { 8, 16 }, "is [8,16], expected [128]")]
    [TestCase("decoder.mid_block.attentions.0.to_v.weight", new[] { 64, 256 }, "is [64,256], expected [128,128]")]
    [TestCase("decoder.up_blocks.3.resnets.1.conv1.weight", new[] { 32, 32, 9 }, "is [32,32,9], expected a convolution [outputs,inputs,k,k]")]
    [TestCase("decoder.up_blocks.3.resnets.1.conv2.weight", new[] { 32, 32, 9, 1 }, "is [32,32,9,1], expected [32,32,3,3]")]
    public void Misshapen_tensor_is_named_with_both_shapes(string name, int[] shape, string problem) =>
        Assert.That(() => Load(s_golden.Select(t => t.Name == name ? t with { Shape = shape } : t)), Refused($"tensor {name} {problem}"));

    [TestCase("decoder.up_blocks.0.resnets.0.conv_shortcut.weight")]
    [TestCase("decoder.up_blocks.3.upsamplers.0.conv.weight")]
    [TestCase("decoder.up_blocks.1000.resnets.0.conv1.weight")]
    [TestCase("decoder.mid_block.attentions.0.key.weight")]
    [TestCase("extra")]
    public void Unknown_tensor_is_named(string name) =>
        Assert.That(() => Load([.. s_golden, TestTensor.Random(name, 1, 2, 2)]), Refused($"tensor {name} [2,2] is unknown"));

    [TestCase("decoder.conv_out.weight")]
    [TestCase("decoder.mid_block.resnets.0.norm2.bias")]
    [TestCase("decoder.mid_block.attentions.0.to_q.weight")]
    public void Weight_that_is_no_number_is_named(string name)
    {
        var spoilt = s_golden.ConvertAll(t => t.Name != name ? t : t with { Values = [.. t.Values[..^1], float.NaN] });
        Assert.That(() => Load(spoilt), Refused($"tensor {name} holds NaN"));
    }

    [Test]
    public void Too_many_levels_are_refused() =>
        Assert.That(() => Load([.. s_golden, TestTensor.Random("decoder.up_blocks.99.a", 1, 1)]), Refused("100 levels"));

    [Test]
    public void Second_decode_of_a_shape_allocates_no_tensors()
    {
        using var decoder = Load(s_golden);
        var (latent, pixels) = (new float[4 * 2 * 3], new float[16 * 24 * 3]);
        decoder.Decode(latent, 2, 3, pixels);
        var bytes = decoder.AllocatedBytes;
        Assert.That(bytes, Is.EqualTo(decoder.WorkingBytes(2, 3)));
        decoder.Decode(latent, 2, 3, pixels);
        Assert.That(decoder.AllocatedBytes, Is.EqualTo(bytes));
        decoder.Decode(latent, 3, 2, pixels);
        Assert.That(decoder.AllocatedBytes, Is.EqualTo(bytes), "another shape takes the place of the first");
    }

    [Test]
    public void Buffers_of_a_wrong_length_are_refused()
    {
        using var decoder = Load(s_golden);
        Assert.That(() => decoder.Decode(new float[63], 4, 4, new float[Pixels]), Throws.ArgumentException.With.Message.Contains("expected [4,4,4]"));
        Assert.That(() => decoder.Decode(new float[64], 4, 4, new float[5]), Throws.ArgumentException.With.Message.Contains("expected [32,32,3]"));
        Assert.That(() => decoder.Decode([], 0, 4, []), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void Cancelled_decode_leaves_the_decoder_usable()
    {
        using var backend = new ReferenceBackend();
        using var checkpoint = new TestCheckpoint(s_golden);
        using var decoder = AutoencoderKl.Load(checkpoint, backend);
        using var source = new CancellationTokenSource();
        source.Cancel();
        backend.Cancellation = source.Token;
        var (latent, pixels) = (new float[4], new float[8 * 8 * 3]);
        Assert.That(() => decoder.Decode(latent, 1, 1, pixels), Throws.InstanceOf<OperationCanceledException>());
        backend.Cancellation = default;
        decoder.Decode(latent, 1, 1, pixels);
        Assert.That(decoder.AllocatedBytes, Is.EqualTo(decoder.WorkingBytes(1, 1)));
    }

    private AutoencoderKl Load(IEnumerable<TestTensor> tensors, string? config = null)
    {
        var metadata = config is null ? null : new Dictionary<string, string> { ["config.json"] = config };
        using var checkpoint = new TestCheckpoint(tensors, metadata);
        return AutoencoderKl.Load(checkpoint, _backend);
    }

    private static NUnit.Framework.Constraints.ContainsConstraint Refused(string problem) =>
        Throws.InstanceOf<InvalidFileException>().With.Message.Contains(problem);

    /// <summary>The golden tensors under the names that key_spellings.json lists for another spelling.</summary>
    private static List<TestTensor> Respell(string spelling)
    {
        using var spellings = JsonDocument.Parse(File.ReadAllText(TestFiles.Golden("vae/key_spellings.json")));
        var shapes = spellings.RootElement.GetProperty(spelling).EnumerateObject()
            .ToDictionary(e => e.Name, e => e.Value.EnumerateArray().Select(v => v.GetInt32()).ToArray());
        var renamed = s_golden.ConvertAll(t =>
        {
            var name = spelling == "compvis" ? CompVisName(t.Name) : OldName(t.Name);
            return t with { Name = name, Shape = shapes[name] };
        });
        Assert.That(renamed.Select(t => t.Name), Is.EquivalentTo(shapes.Keys));
        return renamed;
    }

    private static string OldName(string name) => name
        .Replace(".to_q.", ".query.").Replace(".to_k.", ".key.").Replace(".to_v.", ".value.").Replace(".to_out.0.", ".proj_attn.");

    private static string CompVisName(string name)
    {
        name = name.Replace("mid_block.attentions.0.group_norm", "mid.attn_1.norm").Replace("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out")
            .Replace("mid_block.attentions.0.to_", "mid.attn_1.")
            .Replace("mid_block.resnets.0", "mid.block_1").Replace("mid_block.resnets.1", "mid.block_2")
            .Replace("conv_norm_out", "norm_out").Replace("conv_shortcut", "nin_shortcut")
            .Replace(".resnets.", ".block.").Replace(".upsamplers.0.conv.", ".upsample.conv.");
        for (var level = 0; level < 4; level++) name = name.Replace($"decoder.up_blocks.{level}.", $"decoder.up.{3 - level}.");
        return name;
    }

    internal static float[] ChannelsFirst(float[] pixels)
    {
        var result = new float[pixels.Length];
        for (var i = 0; i < pixels.Length; i++) result[i % 3 * (pixels.Length / 3) + i / 3] = pixels[i];
        return result;
    }
}
