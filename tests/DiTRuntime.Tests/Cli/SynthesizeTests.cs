using System.Text.Json;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Cli;

public sealed class SynthesizeTests
{
    [TestCase("f32", 4)]
    [TestCase("f16", 2)]
    [TestCase("bf16", 2)]
    public void A_synthetic_model_is_whole_and_runs(string type, int elementBytes)
    {
        using var folder = new TemporaryFolder();
        CliRunner.Run("synthesize", "--model", "DiT-S/8", "--num-classes", "20", "--image-size", "64", "--seed", "3", "--dtype", type, "-o", folder["s.safetensors"]).Succeeded();
        var json = JsonDocument.Parse(CliRunner.Run("inspect", folder["s.safetensors"], "--json").Succeeded().Out).RootElement;
        Assert.That(json.GetProperty("name").GetString(), Is.EqualTo("DiT-S/8"));
        Assert.That(json.GetProperty("configuration").GetProperty("num_classes").GetInt32(), Is.EqualTo(20));
        Assert.That(json.GetProperty("bytes").GetInt64(), Is.EqualTo(elementBytes * json.GetProperty("elements").GetInt64()));
        CliRunner.Run("generate", "--model", folder["s.safetensors"], "--class-labels", "19", "--steps", "1", "--latents-only", "--out", folder["l.safetensors"]).Succeeded();
    }

    [Test]
    public void A_seed_gives_the_same_file()
    {
        using var folder = new TemporaryFolder();
        foreach (var (name, seed) in new[] { ("a", "3"), ("b", "3"), ("c", "4") })
            CliRunner.Run("synthesize", "--model", "DiT-S/8", "--num-classes", "2", "--image-size", "64", "--seed", seed, "--dtype", "f16", "-o", folder[name]).Succeeded();
        var first = File.ReadAllBytes(folder["a"]);
        Assert.That(first.AsSpan().SequenceEqual(File.ReadAllBytes(folder["b"])), Is.True);
        Assert.That(first.AsSpan().SequenceEqual(File.ReadAllBytes(folder["c"])), Is.False);
    }

    [Test]
    public void An_unwritable_place_is_refused_at_once() =>
        CliRunner.Run("synthesize", "--model", "DiT-XL/2", "-o", "/no/such/folder/x.safetensors").Failed(ExitCode.Usage, "/no/such/folder/x.safetensors", "no such folder");
}
