using System.Text.Json;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Imaging;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Cli;

public sealed class InspectTests
{
    [TestCase("tiny/official.pt", "PyTorch zip")]
    [TestCase("tiny/train.pt", "PyTorch zip")]
    [TestCase("tiny/official.safetensors", "safetensors")]
    [TestCase("tiny/diffusers", "diffusers")]
    public void A_model_tells_its_configuration_and_parts(string golden, string kind)
    {
        var json = Inspect(TestFiles.Golden(golden), "--heads", "2");
        var configuration = json.GetProperty("configuration");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json.GetProperty("kind").GetString(), Does.Contain(kind));
            Assert.That(configuration.GetProperty("hidden_size").GetInt32(), Is.EqualTo(64));
            Assert.That(configuration.GetProperty("depth").GetInt32(), Is.EqualTo(2));
            Assert.That(configuration.GetProperty("num_classes").GetInt32(), Is.EqualTo(10));
            Assert.That(configuration.GetProperty("learn_sigma").GetBoolean(), Is.True);
            Assert.That(Sum(json, "parts", "bytes"), Is.EqualTo(json.GetProperty("bytes").GetInt64()));
            Assert.That(Sum(json, "tensors", "bytes"), Is.EqualTo(json.GetProperty("bytes").GetInt64()));
            Assert.That(json.GetProperty("hash").GetString(), Does.Match("^[0-9a-f]{10}$"));
        }
    }

    [Test]
    public void A_packed_model_tells_its_bits()
    {
        using var folder = new TemporaryFolder();
        var path = PackedFiles.Write(folder["m.safetensors"], new GroupFormat(4, 32), ActivationMode.Dynamic);
        var json = Inspect(path);
        var packing = json.GetProperty("packing");
        var layer = packing.GetProperty("layers").EnumerateArray().Single(l => l.GetProperty("name").GetString() == "blocks.1.mlp.fc2");
        using (Assert.EnterMultipleScope())
        {
            // 4 bits, and for each 32 weights 16 bits of scale and 4 of zero point.
            Assert.That(packing.GetProperty("block_bits_per_weight").GetDouble(), Is.EqualTo(4 + 20.0 / 32));
            Assert.That(layer.GetProperty("bits_per_weight").GetDouble(), Is.EqualTo(4 + 20.0 / 32));
            Assert.That(layer.GetProperty("format").GetString(), Is.EqualTo("w4a8 g32"));
            Assert.That(packing.GetProperty("bits_per_weight").GetDouble(), Is.GreaterThan(4 + 20.0 / 32).And.LessThan(16));
            Assert.That(packing.GetProperty("method").GetProperty("method").GetString(), Is.EqualTo("rtn"));
            Assert.That(Sum(packing, "parts", "bytes"), Is.EqualTo(json.GetProperty("bytes").GetInt64()));
            Assert.That(Sum(packing, "layers", "bytes"), Is.EqualTo(json.GetProperty("bytes").GetInt64()));
        }

        Assert.That(CliRunner.Run("inspect", path).Succeeded().Out, Does.Match(@"adaLN +w4a16 g32 +2 layers .* 4\.625 bits per weight"));
        Assert.That(CliRunner.Run("inspect", path, "--verbose").Succeeded().Out, Does.Match(@"blocks\.1\.mlp\.fc2 +w4a8 g32 .* 4\.625 bits per weight"));
    }

    [Test]
    public void A_model_that_is_not_packed_tells_no_bits() =>
        Assert.That(Inspect(TestFiles.DigitModel).GetProperty("packing").ValueKind, Is.EqualTo(JsonValueKind.Null));

    [Test]
    public void The_container_changes_nothing_of_the_hash() =>
        Assert.That(Hash("tiny/official.pt"), Is.EqualTo(Hash("tiny/official.safetensors")).And.EqualTo(Hash("tiny/train.pt")));

    [Test]
    public void A_file_that_is_no_model_tells_its_tensors()
    {
        var result = CliRunner.Run("inspect", TestFiles.Golden("noise.safetensors"), "--verbose").Succeeded();
        Assert.That(result.Out, Does.Contain("randn.seed0.15 F32 [15]").And.Contain("I64: 1 tensors"));
        Assert.That(Inspect(TestFiles.Golden("vae")).GetProperty("configuration").ValueKind, Is.EqualTo(JsonValueKind.Null));
    }

    [Test]
    public void A_broken_model_is_refused_not_listed()
    {
        using var folder = new TemporaryFolder();
        var model = RawSafetensors.Load(TestFiles.Golden("tiny/official.safetensors")).Remove("blocks.0.attn.qkv.bias").Save(folder["m.safetensors"]);
        CliRunner.Run("inspect", model, "--heads", "2").Failed(ExitCode.InvalidFile, "blocks.0.attn.qkv.bias");
    }

    [Test]
    public void An_image_tells_how_it_was_made()
    {
        using var folder = new TemporaryFolder();
        CliRunner.Run("generate", "--class-labels", "6", "--steps", "2", "--seed", "9", "--out", folder["six.png"]).Succeeded();
        var parameters = Inspect(folder["six.png"]).GetProperty("parameters");
        Assert.That(parameters.GetProperty("Class").GetString(), Is.EqualTo("6"));
        Assert.That(parameters.GetProperty("Seed").GetString(), Is.EqualTo("9"));
        Assert.That(parameters.GetProperty("Size").GetString(), Is.EqualTo("32x32"));
        Assert.That(CliRunner.Run("inspect", folder["six.png"]).Succeeded().OutLines, Does.Contain("  Steps: 2"));
    }

    private static JsonElement Inspect(string path, params string[] flags) =>
        JsonDocument.Parse(CliRunner.Run(["inspect", path, "--json", .. flags]).Succeeded().Out).RootElement;

    private static string Hash(string golden) => Inspect(TestFiles.Golden(golden), "--heads", "2").GetProperty("hash").GetString()!;

    private static long Sum(JsonElement json, string list, string property) => json.GetProperty(list).EnumerateArray().Sum(e => e.GetProperty(property).GetInt64());
}
