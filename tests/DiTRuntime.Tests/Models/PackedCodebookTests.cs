using System.Text.Json.Nodes;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Backends;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Cli;

namespace DiTRuntime.Tests.Models;

/// <summary>Packed files of codebooks: written, read and run; and refused, with the wrong thing named, where something is wrong.</summary>
internal sealed class PackedCodebookTests
{
    private const string Books = "blocks.1.attn.proj", Product = "blocks.1.mlp.fc2";

    private static readonly CodebookFormat s_codebook = new(12, 4) { HasRowScales = true }, s_product = new(5, 2) { IsProduct = true, PoolSize = 21 };

    private static readonly byte[] s_packed = Packed();

    [Test]
    public void Model_of_codebooks_runs_on_the_cpu_as_on_the_reference()
    {
        using var folder = new TestFolder();
        var path = folder.Write("m.safetensors", s_packed);
        float[] Run(DiTRuntime.Backends.IDiTBackend backend)
        {
            using var tiny = new TinyModel(backend, path);
            return tiny.Forward(
                TinyModel.Expected.F32("forward.x"), [.. TinyModel.Expected.I64("forward.t").Select(t => (int)t)], [.. TinyModel.Expected.I64("forward.y").Select(y => (int)y)]);
        }

        using var reference = new ReferenceBackend();
        using var cpu = CpuBackend.Create(new CpuOptions(2));
        // fc1 and qkv read 8-bit inputs, whose codes may differ by one where the norms differ in the last bit.
        Assert.That(Relative.Error(Run(cpu), Run(reference)), Is.LessThanOrEqualTo(2e-3));
    }

    [Test]
    public void Layers_come_back_as_they_were_written()
    {
        using var folder = new TestFolder();
        using var read = DiTWeightsLoader.Load(folder.Write("m.safetensors", s_packed));
        var plan = Plan(read.Config);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(read.Layers.Select(layer => layer.LayerFormat), Is.EqualTo(read.Layers.Select(layer => plan.FormatOf(layer.Name))));
            Assert.That(read.Layers.Count(layer => layer is CodebookWeight), Is.EqualTo(15), "all but the patch embedding");
            Assert.That(ModelParts.Layers(read).Single(layer => layer.Name == Books).WeightBytes, Is.EqualTo(64 * 8 + 12 * 4 * 2 + 64 * 2), "16 codes of 4 bits a row, the codebook, the row scales");
        }
    }

    [TestCase(Books + ".codes", new byte[] { 0x0c }, "code 12", "12 codewords")]
    [TestCase(Books + ".codes", new byte[] { 0xf0 }, "code 15", "12 codewords")]
    [TestCase(Books + ".codebook", new byte[] { 0x00, 0x7e }, "NaN", "finite")]
    [TestCase(Books + ".codebook", new byte[] { 0x00, 0xfc }, "-Infinity", "finite")]
    [TestCase(Books + ".scale", new byte[] { 0x00, 0x00 }, "0", "positive and finite")]
    [TestCase(Books + ".scale", new byte[] { 0x00, 0x7e }, "NaN", "positive and finite")]
    [TestCase(Product + ".codes", new byte[] { 0x07 }, "code 7", "5 codewords")]
    [TestCase(Product + ".table", new byte[] { 21, 0 }, "21", "pool has 21 vectors")]
    [TestCase(Product + ".pool", new byte[] { 0x01, 0x7c }, "NaN", "finite")]
    public void Value_that_is_wrong(string tensor, byte[] bytes, params string[] words) => Refused(file => file.Poke(tensor, bytes), [tensor, .. words]);

    [TestCase(Books + ".codes", "U8", 64, 7)]
    [TestCase(Books + ".codes", "U8", 63, 8)]
    [TestCase(Books + ".codebook", "F16", 1, 11, 4)]
    [TestCase(Books + ".codebook", "F16", 2, 12, 4)]
    [TestCase(Books + ".codebook", "F16", 12, 4)]
    [TestCase(Books + ".codebook", "F16", 1, 0, 4)]
    [TestCase(Books + ".codebook", "F32", 1, 12, 4)]
    [TestCase(Books + ".codebook", "BF16", 1, 12, 4)]
    [TestCase(Books + ".scale", "F16", 63)]
    [TestCase(Books + ".scale", "F32", 64)]
    [TestCase(Product + ".table", "U16", 128, 4)]
    [TestCase(Product + ".table", "U32", 128, 5)]
    [TestCase(Product + ".pool", "F16", 20, 2)]
    [TestCase(Product + ".pool", "F16", 21, 3)]
    public void Tensor_of_another_size_or_type(string name, string type, params int[] shape) => Refused(
        file => file.Remove(name).Add(name, type, shape, new byte[shape.Aggregate(type[^2..] switch { "U8" => 1, "16" => 2, _ => 4 }, (a, b) => a * b)]),
        name, "expected");

    [TestCase(Books + ".codes")]
    [TestCase(Books + ".codebook")]
    [TestCase(Books + ".scale")]
    [TestCase(Product + ".table")]
    [TestCase(Product + ".pool")]
    public void Tensor_that_is_missing(string name) => Refused(file => file.Remove(name), name, "missing");

    [TestCase(Books, "k", "1", "k 1")]
    [TestCase(Books, "k", "0", "k 0")]
    [TestCase(Books, "k", "-12", "k -12")]
    [TestCase(Books, "k", "65537", "k 65537")]
    [TestCase(Books, "k", "2147483647", "k 2147483647")]
    [TestCase(Books, "k", "16", ".codebook", "expected")]
    [TestCase(Books, "k", "17", ".codes", "expected")]
    [TestCase(Books, "k", "12.5", "k", "whole number")]
    [TestCase(Books, "d", "1", "d 1")]
    [TestCase(Books, "d", "16", "d 16")]
    [TestCase(Books, "d", "5", "d 5 does not divide")]
    [TestCase(Books, "d", "8", ".codes", "expected")]
    [TestCase(Books, "parts", "0", "0 parts")]
    [TestCase(Books, "parts", "3", "3 parts do not divide")]
    [TestCase(Books, "parts", "2", ".codebook", "expected")]
    [TestCase(Books, "scale", "false", ".scale", "extra")]
    [TestCase(Books, "scale", "1", "scale", "true or false")]
    [TestCase(Books, "pool", "0", "unknown property pool")]
    [TestCase(Books, "bits", "2", "unknown property bits")]
    [TestCase(Books, "rotation", "1", "unknown property rotation")]
    [TestCase(Books, "abits", "4", "abits 4")]
    [TestCase(Books, "agroup", "6", "6", "multiple of d 4")]
    [TestCase(Books, "agroup", "-4", "-4", "multiple of d 4")]
    [TestCase(Books, "format", "\"product\"", "unknown property parts")]
    [TestCase(Product, "pool", "-1", "pool of -1")]
    [TestCase(Product, "pool", "641", "pool of 641")]
    [TestCase(Product, "pool", "0", ".codebook", "missing")]
    [TestCase(Product, "pool", "20", ".pool", "expected")]
    [TestCase(Product, "pool", "null", "no pool", "whole number")]
    [TestCase(Product, "parts", "1", "unknown property parts")]
    public void Entry_that_is_wrong(string layer, string key, string value, params string[] words) => Refused(
        file =>
        {
            var layers = JsonNode.Parse(file.Metadata("ditruntime.layers"))!.AsObject();
            layers[layer]![key] = JsonNode.Parse(value);
            return file.Metadata("ditruntime.layers", layers.ToJsonString());
        },
        [layer, .. words]);

    [TestCase("k")]
    [TestCase("d")]
    [TestCase("parts")]
    [TestCase("scale")]
    [TestCase("abits")]
    public void Property_that_is_missing(string key) => Refused(
        file =>
        {
            var layers = JsonNode.Parse(file.Metadata("ditruntime.layers"))!.AsObject();
            layers[Books]!.AsObject().Remove(key);
            return file.Metadata("ditruntime.layers", layers.ToJsonString());
        },
        Books, $"no {key}");

    /// <summary>Bytes changed at random, in the header and the tensors: a file is refused as such, or it is a model.</summary>
    [Test]
    public void Any_bytes_are_read_or_refused([Range(0, 3)] int seed)
    {
        using var folder = new TestFolder();
        var random = new Random(seed);
        for (var i = 0; i < 60; i++)
        {
            var bytes = (byte[])s_packed.Clone();
            for (var change = 0; change <= i % 4; change++) bytes[random.Next(i % 2 == 0 ? 12_000 : bytes.Length)] = (byte)random.Next(256);
            var path = folder.Write($"{i}.safetensors", bytes);
            try
            {
                using var read = DiTWeightsLoader.Load(path);
                foreach (var layer in read.Layers) layer.CopyRows(0, layer.Outputs, new float[layer.Outputs * layer.Inputs]);
            }
            catch (Exception e) when (e is InvalidFileException or UsageException)
            {
                Assert.That(e.Message, Is.Not.Empty);
            }
        }
    }

    private static void Refused(Func<RawSafetensors, RawSafetensors> tamper, params string[] words)
    {
        using var folder = new TestFolder();
        var path = tamper(RawSafetensors.Parse(s_packed)).Save(folder["m.safetensors"]);
        var problem = Refusal.Of(path, () => DiTWeightsLoader.Load(path).Dispose());
        foreach (var word in words) Assert.That(problem, Does.Contain(word));
    }

    private static byte[] Packed()
    {
        using var folder = new TestFolder();
        using var source = PackedFiles.Tiny();
        using var weights = new RandomWeights(11);
        var plan = Plan(source.Config);
        PackedModelWriter.Write(folder["m.safetensors"], source, plan, weight => Pack(weight, plan.FormatOf(weight.Name)), PackedFiles.Method);
        return File.ReadAllBytes(folder["m.safetensors"]);

        PackedLayer Pack(LinearWeight source, LayerFormat format)
        {
            var (made, _) = weights.Codebook(source.Outputs, source.Inputs, (CodebookFormat)format.Weights!);
            return new PackedLayer(new CodebookWeight(
                source.Name, source.Outputs, source.Inputs, source.Bias, made.Format,
                new(made.BytesOf(".codes")), new(made.BytesOf(".codebook")), new(made.BytesOf(".table")), new(made.BytesOf(".scale"))) { Activations = format.DynamicActivations });
        }
    }

    /// <summary>Codebooks for the attention's projection and everything outside, products with a pool for the rest; two layers of a block read quantized inputs.</summary>
    private static PackedModelPlan Plan(DiTConfig config)
    {
        var formats = new Dictionary<string, LayerFormat>(StringComparer.Ordinal);
        foreach (var layer in DiTLayout.Layers(config))
        {
            if (layer.Name == "x_embedder.proj") continue;
            var isCodebook = !layer.IsInBlock || layer.Name.Contains("attn", StringComparison.Ordinal);
            var weights = isCodebook ? s_codebook with { Parts = layer.Name.EndsWith("qkv", StringComparison.Ordinal) ? 3 : 1 } : s_product;
            formats[layer.Name] = layer.ReadsTokens && layer.Name is not Product ? new LayerFormat(weights, ActivationMode.Dynamic, 16) : new LayerFormat(weights);
        }

        return new PackedModelPlan(config, formats);
    }
}
