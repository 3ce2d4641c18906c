using System.Text.Json;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Models;

/// <summary>A packed file is written, read back, and run.</summary>
public sealed class PackedModelTests
{
    private static GoldenTensors Expected => TinyModel.Expected;

    [Test]
    public void The_model_survives_the_file([Values(2, 3, 4, 5, 6, 8)] int bits, [Values(0, 24, 32)] int group, [Values] ActivationMode activations, [Values] bool packAll)
    {
        using var folder = new TestFolder();
        using var source = PackedFiles.Tiny();
        var plan = PackedModelPlan.Uniform(source.Config, new GroupFormat(bits, group), activations, packAll);
        using var read = DiTWeightsLoader.Load(PackedFiles.Write(folder["m.safetensors"], source, plan));
        Assert.That(read.Config, Is.EqualTo(source.Config));
        Assert.That(read.Positions, Is.EqualTo(source.Positions).Within(1e-6f));
        foreach (var (was, now) in source.Layers.Zip(read.Layers))
        {
            var format = plan.FormatOf(was.Name);
            Assert.That(now.Name, Is.EqualTo(was.Name));
            Assert.That(now.Bias is null, Is.EqualTo(was.Bias is null));
            if (now.Bias is not null) Assert.That(now.Bias, Is.EqualTo(was.Bias!.Select(b => (float)(Half)b)));
            var expected = format.Weights is null
                ? [.. Values(was).Select(w => (float)(Half)w)]
                : Values(PackedFiles.Round(was, format).Weight);
            Assert.That(Values(now), Is.EqualTo(expected), was.Name);
            if (format.Weights is null) continue;
            Assert.That(((GroupWeight)now).Format, Is.EqualTo(format.Weights));
            Assert.That(now.Activations?.GroupSize, Is.EqualTo(format.Activations == ActivationMode.Float ? null : group));
            Assert.That(now.Activations?.StaticScales?.Length, Is.EqualTo(format.Activations == ActivationMode.Static ? new GroupGrid(was.Inputs, group).Count : null));
        }
    }

    [Test]
    public void Only_layers_that_read_tokens_quantize_their_input()
    {
        using var folder = new TestFolder();
        using var read = DiTWeightsLoader.Load(PackedFiles.Write(folder["m.safetensors"], new GroupFormat(8, 32), ActivationMode.Dynamic, packAll: true));
        Assert.That(
            read.Layers.Where(layer => layer.Activations is not null).Select(layer => layer.Name),
            Is.EqualTo(new[] { 0, 1 }.SelectMany(i => new[] { "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2" }.Select(role => $"blocks.{i}.{role}"))));
        Assert.That(read.Layers, Has.All.InstanceOf<GroupWeight>());
    }

    [Test]
    public void The_file_is_the_same_each_time()
    {
        using var folder = new TestFolder();
        var first = File.ReadAllBytes(PackedFiles.Write(folder["a.safetensors"], new GroupFormat(3, 24), ActivationMode.Dynamic));
        var second = File.ReadAllBytes(PackedFiles.Write(folder["b.safetensors"], new GroupFormat(3, 24), ActivationMode.Dynamic));
        Assert.That(first.AsSpan().SequenceEqual(second));
    }

    [Test]
    public void The_layout_of_the_source_does_not_matter()
    {
        using var folder = new TestFolder();
        using var source = DiTWeightsLoader.Load(TestFiles.Golden("tiny/diffusers"));
        var path = PackedFiles.Write(folder["d.safetensors"], source, PackedModelPlan.Uniform(source.Config, new GroupFormat(4, 32)));
        using var diffusers = Checkpoint.Open(path);
        using var official = Checkpoint.Open(PackedFiles.Write(folder["o.safetensors"], new GroupFormat(4, 32)));
        foreach (var (a, b) in diffusers.Tensors.Zip(official.Tensors))
        {
            Assert.That(a.Name, Is.EqualTo(b.Name));
            Assert.That(a.Bytes.SequenceEqual(b.Bytes), a.Name);
        }
    }

    [Test]
    public void Metadata_tells_what_the_file_is()
    {
        using var folder = new TestFolder();
        using var source = PackedFiles.Tiny();
        using var file = Checkpoint.Open(PackedFiles.Write(folder["m.safetensors"], new GroupFormat(4, 48), ActivationMode.Static));
        var layers = JsonDocument.Parse(file.Metadata["ditruntime.layers"]).RootElement;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(file.Metadata["ditruntime.format"], Is.EqualTo("1"));
            Assert.That(file.Metadata["ditruntime.method"], Is.EqualTo(PackedFiles.Method));
            Assert.That(file.Metadata["ditruntime.source"], Is.EqualTo(ContentHash.Of(source.Checkpoint)));
            Assert.That(JsonDocument.Parse(file.Metadata["ditruntime.config"]).RootElement.GetProperty("hidden_size").GetInt32(), Is.EqualTo(64));
            Assert.That(layers.GetProperty("x_embedder.proj").ToString(), Is.EqualTo("""{"format":"dense"}"""));
            Assert.That(
                layers.GetProperty("blocks.1.mlp.fc2").ToString(),
                Is.EqualTo("""{"format":"group","bits":4,"group":48,"tail":16,"abits":8,"agroup":48,"static":true}"""));
            Assert.That(layers.GetProperty("blocks.1.adaLN_modulation.1").ToString(), Is.EqualTo("""{"format":"group","bits":4,"group":48,"tail":16,"abits":16}"""));
        }
    }

    [Test]
    public void Names_of_classes_stay()
    {
        using var folder = new TestFolder();
        using var source = DiTWeightsLoader.Load(TestFiles.Golden("tiny/diffusers"));
        Assert.That(source.Labels.Count, Is.EqualTo(10), "the golden names its classes");
        using var read = DiTWeightsLoader.Load(PackedFiles.Write(folder["m.safetensors"], source, PackedModelPlan.Uniform(source.Config, new GroupFormat(4, 0))));
        Assert.That(Enumerable.Range(0, 10).Select(read.Labels.NameOf), Is.EqualTo(Enumerable.Range(0, 10).Select(source.Labels.NameOf)));
    }

    [Test]
    public void Positions_that_no_formula_gives_are_stored()
    {
        using var folder = new TestFolder();
        var tensors = TensorFiles.Read(TestFiles.Golden("tiny/official.safetensors"));
        tensors.Replace("pos_embed", [1, 16, 64], [.. Enumerable.Range(0, 16 * 64).Select(i => i * 0.001f)]);
        using var source = DiTWeightsLoader.Load(TensorFiles.Write(folder["s.safetensors"], tensors), new DiTLoadOptions { HeadCount = 2 });
        using var read = DiTWeightsLoader.Load(PackedFiles.Write(folder["m.safetensors"], source, PackedModelPlan.Uniform(source.Config, new GroupFormat(4, 0))));
        Assert.That(read.Positions, Is.EqualTo(source.Positions));
    }

    [Test]
    public void Positions_that_a_formula_gives_are_not_stored([Values] bool enlarged, [Values(ElementType.F32, ElementType.F16, ElementType.BF16)] ElementType type)
    {
        using var folder = new TestFolder();
        using (var tiny = PackedFiles.Tiny()) SyntheticWeights.Write(tiny.Config, 1, type, folder["s.safetensors"]);
        using var source = DiTWeightsLoader.Load(folder["s.safetensors"], new DiTLoadOptions { InputSize = enlarged ? 16 : null });
        using var file = Checkpoint.Open(PackedFiles.Write(folder["m.safetensors"], source, PackedModelPlan.Uniform(source.Config, new GroupFormat(4, 0))));
        Assert.That(file.TryGet("pos_embed", out _), Is.False);
    }

    [Test]
    public void Values_beyond_half_precision_are_kept_in_single()
    {
        using var folder = new TestFolder();
        var tensors = TensorFiles.Read(TestFiles.Golden("tiny/official.safetensors"));
        tensors.Replace("final_layer.linear.bias", [32], [.. Enumerable.Range(0, 32).Select(i => i * 1e4f)]);
        tensors.Replace("blocks.0.attn.proj.bias", [64], [.. Enumerable.Range(0, 64).Select(i => i * 1e4f)]);
        tensors.Replace("t_embedder.mlp.2.weight", [64, 64], [.. Enumerable.Range(0, 64 * 64).Select(i => i * 100f)]);
        using var source = DiTWeightsLoader.Load(TensorFiles.Write(folder["s.safetensors"], tensors), new DiTLoadOptions { HeadCount = 2 });
        using var read = DiTWeightsLoader.Load(PackedFiles.Write(folder["m.safetensors"], source, PackedModelPlan.Uniform(source.Config, new GroupFormat(4, 0))));
        Assert.That(read.FinalLinear.Bias, Is.EqualTo(source.FinalLinear.Bias));
        Assert.That(read.Blocks[0].Projection.Bias, Is.EqualTo(source.Blocks[0].Projection.Bias));
        Assert.That(Values(read.TimestepOut), Is.EqualTo(Values(source.TimestepOut)));
    }

    [Test]
    public void Options_of_the_loader_hold()
    {
        using var folder = new TestFolder();
        var path = PackedFiles.Write(folder["m.safetensors"], new GroupFormat(8, 32));
        using (var larger = DiTWeightsLoader.Load(path, new DiTLoadOptions { InputSize = 16 })) Assert.That(larger.Positions, Has.Length.EqualTo(64 * 64));
        Assert.That(() => DiTWeightsLoader.Load(path, new DiTLoadOptions { HeadCount = 4 }), Throws.InstanceOf<UsageException>().With.Message.Contains("--heads 4"));
    }

    [Test]
    public void A_plan_that_makes_no_sense_is_refused()
    {
        using var source = PackedFiles.Tiny();
        void Refused(string layer, LayerFormat format, string words) => Assert.That(
            () => PackedFiles.Write("unwritten", source, new PackedModelPlan(source.Config, new Dictionary<string, LayerFormat> { [layer] = format })),
            Throws.InstanceOf<UsageException>().With.Message.Contains(words));
        Refused("blocks.2.attn.qkv", new LayerFormat(new GroupFormat(4, 32)), "blocks.2.attn.qkv is no layer");
        Refused("blocks.1.attn.qkv", new LayerFormat(new GroupFormat(7, 32)), "7 bits");
        Refused("blocks.1.attn.qkv", new LayerFormat(new GroupFormat(4, -1)), "group -1");
        Refused("blocks.1.adaLN_modulation.1", new LayerFormat(new GroupFormat(4, 32), ActivationMode.Dynamic), "input cannot be quantized");
        Refused("blocks.1.attn.qkv", new LayerFormat(null, ActivationMode.Dynamic), "its weight is not");
    }

    [Test]
    public void A_layer_that_is_not_in_the_plan_s_format_is_refused_and_leaves_no_file()
    {
        using var folder = new TestFolder();
        using var source = PackedFiles.Tiny();
        var plan = PackedModelPlan.Uniform(source.Config, new GroupFormat(4, 32));
        Assert.That(
            () => PackedModelWriter.Write(folder["m.safetensors"], source, plan, weight => LayerQuantizer.RoundToNearest(weight, new GroupFormat(3, 32)), PackedFiles.Method),
            Throws.ArgumentException.With.Message.Contains("w4a16 g32"));
        Assert.That(Directory.GetFiles(folder.Root), Is.Empty);
    }

    [Test]
    public void Error_falls_with_every_bit([Values] ActivationMode activations)
    {
        using var folder = new TestFolder();
        // Signal to noise of the prediction in dB; each bit halves the step, so about 6 dB a bit, until 8-bit activations limit it.
        var measured = GroupFormat.AllBits.ToArray().Select(bits => Snr(PackedFiles.Write(folder[$"{bits}.safetensors"], new GroupFormat(bits, 32), activations))).ToArray();
        TestContext.Out.WriteLine(string.Join(", ", measured.Select(snr => $"{snr:f1} dB")));
        Assert.That(measured, Is.Ordered.Ascending);
        Assert.That(measured[^1], Is.GreaterThan(activations == ActivationMode.Static ? 25 : 40));
    }

    private static double Snr(string path)
    {
        using var backend = new ReferenceBackend();
        using var tiny = new TinyModel(backend, path);
        var output = tiny.Forward(Expected.F32("forward.x"), [.. Expected.I64("forward.t").Select(t => (int)t)], [.. Expected.I64("forward.y").Select(y => (int)y)]);
        return -20 * Math.Log10(Relative.Error(output, Expected.F32("forward.out")));
    }

    private static float[] Values(LinearWeight layer)
    {
        var values = new float[layer.Outputs * layer.Inputs];
        layer.CopyRows(0, layer.Outputs, values);
        return values;
    }
}
