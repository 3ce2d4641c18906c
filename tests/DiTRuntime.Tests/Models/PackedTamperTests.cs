using System.Text.Json.Nodes;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Cli;

namespace DiTRuntime.Tests.Models;

/// <summary>A packed file in which something is wrong is refused, and the wrong thing is named.</summary>
public sealed class PackedTamperTests
{
    private const string Layer = "blocks.1.attn.proj";

    private static readonly byte[] s_packed = Packed();

    [TestCase(0x0000, "0")]
    [TestCase(0x8000, "-0")]
    [TestCase(0xbc00, "-1")]
    [TestCase(0x7c00, "Infinity")]
    [TestCase(0xfc00, "-Infinity")]
    [TestCase(0x7e00, "NaN")]
    public void Scale_that_is_no_scale(int bits, string value) =>
        Refused(file => file.Poke($"{Layer}.scale", (byte)bits, (byte)(bits >> 8)), $"{Layer}.scale", value, "positive and finite");

    [TestCase(0f)]
    [TestCase(-1f)]
    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    public void Activation_scale_that_is_no_scale(float scale) =>
        Refused(file => file.Poke($"{Layer}.activation_scale", scale), $"{Layer}.activation_scale", "positive and finite");

    [Test]
    public void Bias_that_is_not_finite() => Refused(file => file.Poke($"{Layer}.bias", 0x00, 0x7e), $"{Layer}.bias", "finite");

    [TestCase("qweight", 64, 31)]
    [TestCase("qweight", 63, 32)]
    [TestCase("scale", 64, 3)]
    [TestCase("scale", 64, 1)]
    [TestCase("zero", 63)]
    [TestCase("zero", 65)]
    [TestCase("activation_scale", 3)]
    [TestCase("activation_zero", 1)]
    public void Tensor_of_another_size(string role, params int[] shape)
    {
        var type = role switch { "scale" => "F16", "activation_scale" => "F32", _ => "U8" };
        var elementBytes = role switch { "scale" => 2, "activation_scale" => 4, _ => 1 };
        Refused(
            file => file.Remove($"{Layer}.{role}").Add($"{Layer}.{role}", type, shape, new byte[shape.Aggregate(elementBytes, (a, b) => a * b)]),
            $"{Layer}.{role}", $"[{string.Join(",", shape)}]", "expected");
    }

    [TestCase("qweight", "I8")]
    [TestCase("zero", "I8")]
    [TestCase("scale", "BF16")]
    public void Tensor_of_another_type(string role, string type) => Refused(
        file =>
        {
            file.Header[$"{Layer}.{role}"]!["dtype"] = type;
            return file;
        },
        $"{Layer}.{role}", type, "expected");

    [TestCase("qweight")]
    [TestCase("scale")]
    [TestCase("zero")]
    [TestCase("bias")]
    [TestCase("activation_zero")]
    public void Tensor_that_is_missing(string role) => Refused(file => file.Remove($"{Layer}.{role}"), $"{Layer}.{role}", "missing");

    [Test]
    public void Tensor_that_is_extra() => Refused(file => file.Add($"{Layer}.smooth", [64], new float[64]), $"{Layer}.smooth", "extra");

    [TestCase("bits", "3", Layer, "expected")]
    [TestCase("bits", "8", Layer, "expected")]
    [TestCase("bits", "1", Layer, "1 bits")]
    [TestCase("bits", "7", Layer, "7 bits")]
    [TestCase("bits", "16", Layer, "16 bits")]
    [TestCase("bits", "\"4\"", Layer, "bits", "whole number")]
    [TestCase("bits", "4.5", Layer, "bits", "whole number")]
    [TestCase("bits", "99999999999", Layer, "bits", "whole number")]
    [TestCase("group", "-32", Layer, "group -32")]
    [TestCase("group", "16", Layer, "agroup")]
    [TestCase("group", "33", Layer, "group 33 does not divide")]
    [TestCase("group", "48", Layer, "group 48 does not divide")]
    [TestCase("group", "0", Layer, "agroup")]
    [TestCase("group", "2147483647", Layer, "agroup")]
    [TestCase("tail", "16", Layer, "group 32", "16")]
    [TestCase("abits", "4", Layer, "abits 4")]
    [TestCase("abits", "16", Layer, "agroup or static")]
    [TestCase("abits", "null", Layer, "abits")]
    [TestCase("agroup", "64", Layer, "agroup 64")]
    [TestCase("static", "1", Layer, "static")]
    [TestCase("static", "false", Layer, "activation_scale", "extra")]
    [TestCase("format", "\"lattice\"", Layer, "unknown format lattice")]
    [TestCase("format", "\"codebook\"", Layer, "unknown property bits")]
    [TestCase("format", "\"dense\"", Layer, "unknown property")]
    [TestCase("format", "7", Layer, "names no format")]
    [TestCase("rotation", "1", Layer, "unknown property rotation")]
    public void Entry_that_is_wrong(string key, string value, params string[] words) => RefusedLayers(
        layers => layers[Layer]![key] = JsonNode.Parse(value), words);

    [TestCase("bits", 3, "qweight")]
    [TestCase("group", 16, "scale")]
    public void Entry_that_contradicts_the_shape(string key, int value, string tensor) => RefusedLayers(
        layers =>
        {
            layers[Layer]![key] = value;
            if (key == "group") layers[Layer]!["agroup"] = value;
        },
        $"{Layer}.{tensor}", "expected");

    [Test]
    public void Entry_that_is_missing() => RefusedLayers(layers => layers.Remove(Layer), "no entry", Layer);

    [Test]
    public void Entry_of_an_unknown_layer() => RefusedLayers(layers => layers["blocks.2.attn.qkv"] = layers[Layer]!.DeepClone(), "blocks.2.attn.qkv", "no layer");

    [Test]
    public void Entry_that_is_no_object() => RefusedLayers(layers => layers[Layer] = 4, Layer, "object");

    [Test]
    public void Entry_that_quantizes_the_input_of_adaLN() => RefusedLayers(
        layers => layers["blocks.0.adaLN_modulation.1"] = JsonNode.Parse("""{"format":"group","bits":4,"group":32,"abits":8,"agroup":32,"static":false}"""),
        "blocks.0.adaLN_modulation.1", "abits 8");

    [TestCase("ditruntime.format", "2", "2")]
    [TestCase("ditruntime.format", "", "ditruntime.format")]
    [TestCase("ditruntime.format", null, "ditruntime.format")]
    [TestCase("ditruntime.layers", null, "ditruntime.layers")]
    [TestCase("ditruntime.layers", "{", "ditruntime.layers", "JSON")]
    [TestCase("ditruntime.layers", "[]", "ditruntime.layers", "object")]
    [TestCase("ditruntime.config", null, "ditruntime.config")]
    [TestCase("ditruntime.config", "nonsense", "ditruntime.config", "JSON")]
    [TestCase("ditruntime.config", "{}", "ditruntime.config", "hidden_size")]
    [TestCase("ditruntime.method", "[1,2", "ditruntime.method", "JSON")]
    [TestCase("ditruntime.labels", """{"10":"x"}""", "ditruntime.labels", "class 10")]
    public void Metadata_that_is_wrong(string key, string? text, params string[] words) => Refused(file => file.Metadata(key, text), words);

    [Test]
    public void An_entry_given_twice() => Refused(
        file => file.Metadata("ditruntime.layers", "{\"x_embedder.proj\":{\"format\":\"dense\"}," + file.Metadata("ditruntime.layers")[1..]), "ditruntime.layers", "JSON");

    [TestCase("hidden_size", "128", "expected")]
    [TestCase("hidden_size", "0", "hidden_size")]
    [TestCase("hidden_size", "-64", "hidden_size")]
    [TestCase("hidden_size", "1000000000", "hidden_size")]
    [TestCase("depth", "3", "blocks.2")]
    [TestCase("depth", "1", "blocks.1")]
    [TestCase("depth", "1000000", "depth")]
    [TestCase("num_heads", "3", "3 heads")]
    [TestCase("num_classes", "11", "y_embedder")]
    [TestCase("patch_size", "1", "expected")]
    [TestCase("in_channels", "8", "expected")]
    [TestCase("learn_sigma", "false", "final_layer")]
    [TestCase("learn_sigma", "1", "learn_sigma")]
    [TestCase("mlp_ratio", "2.01", "mlp_ratio")]
    [TestCase("mlp_ratio", "1e300", "mlp_ratio")]
    [TestCase("mlp_ratio", "3", "mlp.fc1")]
    [TestCase("input_size", "9", "9")]
    [TestCase("input_size", "1000000", "tokens")]
    [TestCase("frequency_embedding_size", "128", "t_embedder.mlp.0")]
    public void Configuration_that_is_wrong(string key, string value, string word) => Refused(
        file =>
        {
            var config = JsonNode.Parse(file.Metadata("ditruntime.config"))!;
            config[key] = JsonNode.Parse(value);
            return file.Metadata("ditruntime.config", config.ToJsonString());
        },
        word);

    [Test]
    public void File_of_another_length([Values(-1, 1, 100)] int change)
    {
        using var folder = new TestFolder();
        var path = folder.Write("m.safetensors", change < 0 ? s_packed[..^-change] : [.. s_packed, .. new byte[change]]);
        Assert.That(Refusal.Of(path, () => DiTWeightsLoader.Load(path).Dispose()), Does.Contain("truncated").Or.Contain("follow the last tensor"));
    }

    [Test]
    public void Part_of_a_model_that_is_wrong()
    {
        using var folder = new TestFolder();
        using var source = PackedFiles.Tiny();
        PackedFiles.Round(source.Blocks[0].Qkv, new LayerFormat(new GroupFormat(4, 32))).Save(folder["part.safetensors"]);
        void RefusedPart(Func<RawSafetensors, RawSafetensors> tamper, string word)
        {
            var path = tamper(RawSafetensors.Load(folder["part.safetensors"])).Save(folder["wrong.safetensors"]);
            Assert.That(Refusal.Of(path, () => PackedLayer.Load(path)), Does.Contain(word));
        }

        RefusedPart(file => file.Poke("blocks.0.attn.qkv.scale", 0, 0), "blocks.0.attn.qkv.scale");
        RefusedPart(file => file.Metadata("ditruntime.inputs", "65"), "group 32 does not divide");
        RefusedPart(file => file.Metadata("ditruntime.inputs", "96"), "blocks.0.attn.qkv.qweight");
        RefusedPart(file => file.Metadata("ditruntime.layer", "{"), "JSON");
        RefusedPart(file => file.Metadata("ditruntime.part", "x"), "x.qweight");
        RefusedPart(file => file.Metadata("ditruntime.part", null), "not a part");
        RefusedPart(file => file.Remove("blocks.0.attn.qkv.zero"), "blocks.0.attn.qkv.zero");
    }

    private static void RefusedLayers(Action<JsonObject> tamper, params string[] words) => Refused(
        file =>
        {
            var layers = JsonNode.Parse(file.Metadata("ditruntime.layers"))!.AsObject();
            tamper(layers);
            return file.Metadata("ditruntime.layers", layers.ToJsonString());
        },
        words);

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
        return File.ReadAllBytes(PackedFiles.Write(folder["m.safetensors"], new GroupFormat(4, 32), ActivationMode.Static));
    }
}
