using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Checkpoints;

public sealed class SafetensorsFileTests
{
    private const string Float2 = """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""";

    [Test]
    public void Every_golden_tensor_is_found_in_file_order()
    {
        using var checkpoint = Checkpoint.Open(TestFiles.Golden("tiny/official.safetensors"));

        Assert.That(checkpoint.Kind, Is.EqualTo("safetensors"));
        Assert.That(checkpoint.Tensors, Has.Count.EqualTo(32));
        Assert.That(checkpoint.Tensors[0].Name, Is.EqualTo("blocks.0.adaLN_modulation.1.bias"));
        Assert.That(checkpoint.TryGet("x_embedder.proj.weight", out var tensor), Is.True);
        Assert.That(tensor!.ShapeText, Is.EqualTo("[64,4,2,2]"));
        Assert.That(tensor.IsContiguous, Is.True);
    }

    [Test]
    public void Metadata_are_read()
    {
        using var checkpoint = Checkpoint.Open(TestFiles.DigitModel);

        Assert.That(checkpoint.Metadata["pixel_range"], Is.EqualTo("[-1,1], no autoencoder"));
    }

    [TestCase("F64", 8)]
    [TestCase("F32", 4)]
    [TestCase("F16", 2)]
    [TestCase("BF16", 2)]
    [TestCase("I64", 8)]
    [TestCase("I32", 4)]
    [TestCase("I16", 2)]
    [TestCase("I8", 1)]
    [TestCase("U64", 8)]
    [TestCase("U32", 4)]
    [TestCase("U16", 2)]
    [TestCase("U8", 1)]
    [TestCase("BOOL", 1)]
    public void Every_type_is_converted(string type, int size)
    {
        double[] values = type == "BOOL" ? [1, 0, 1] : [1, 0, 96];
        using var folder = new TestFolder();
        var json = $$$"""{"a":{"dtype":"{{{type}}}","shape":[3],"data_offsets":[0,{{{3 * size}}}]}}""";
        var path = folder.Write("a.safetensors", TestFolder.Safetensors(json, [.. values.SelectMany(v => Encode(v, type))]));

        using var checkpoint = Checkpoint.Open(path);

        Assert.That(checkpoint.Tensors[0].ToArray(), Is.EqualTo(values));
    }

    [Test]
    public void Scalars_and_empty_tensors_are_allowed()
    {
        using var folder = new TestFolder();
        var path = folder.WriteSafetensors("a.safetensors", """{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"F32","shape":[0,3],"data_offsets":[4,4]}}  """, 4);

        using var checkpoint = Checkpoint.Open(path);

        Assert.That(checkpoint.TryGet("s", out var scalar) ? scalar.ToArray() : [], Is.EqualTo(new[] { 0f }));
        Assert.That(checkpoint.TryGet("e", out var empty) ? empty.Count : -1, Is.Zero);
    }

    [TestCase(new byte[] { 1, 2, 3 }, "the file has 3 bytes")]
    [TestCase(new byte[] { 0, 0, 0, 0, 1, 0, 0, 0 }, "claims 4294967296 bytes; at most 100000000")]
    [TestCase(new byte[] { 9, 0, 0, 0, 0, 0, 0, 0, 123 }, "truncated: the safetensors header claims 9 bytes, the file has 1")]
    [TestCase(new byte[] { 2, 0, 0, 0, 0, 0, 0, 0, 123, 255 }, "not UTF-8")]
    [TestCase(new byte[] { 2, 0, 0, 0, 0, 0, 0, 0, 32, 123 }, "does not begin with '{'")]
    [TestCase(new byte[] { 2, 0, 0, 0, 0, 0, 0, 0, 123, 123 }, "not valid JSON")]
    [TestCase(new byte[] { 0, 0, 0, 0, 0, 0, 0, 0 }, "does not begin with '{'")]
    public void A_wrong_start_is_refused(byte[] content, string reason)
    {
        using var folder = new TestFolder();

        Assert.That(Refusal.Of(folder.Write("a.safetensors", content)), Does.Contain(reason));
    }

    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", 12, "tensor a: data_offsets [4,12] leave a hole")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}""", 8, "tensor b: data_offsets [4,8] overlap")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[4],"data_offsets":[9,13]}}""", 13, "tensor b: data_offsets [9,13] leave a hole")]
    [TestCase("""{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,-1]}}""", 0, "tensor b: data_offsets holds something other")]
    [TestCase("""{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[1],"data_offsets":[3,2]}}""", 3, "tensor b: data_offsets [3,2] end before they begin")]
    [TestCase("""{"a":{"dtype":"F32","shape":[4294967296,4294967296,16],"data_offsets":[0,8]}}""", 8, "tensor a F32 [4294967296,4294967296,16] overflows")]
    [TestCase("""{"a":{"dtype":"F32","shape":[65536,65536],"data_offsets":[0,8]}}""", 8, "tensor a F32 [65536,65536] overflows")]
    [TestCase("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", 8, "tensor a: data_offsets [0,8] span 8 bytes; F32 [3] takes 12")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}}""", 8, "tensor a: shape has more than 8 numbers")]
    [TestCase("""{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", 8, "tensor a: shape holds something other")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}""", 8, "tensor a: shape holds something other")]
    [TestCase("""{"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}""", 8, "tensor a has dtype F8_E4M3, which is not supported")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}}""", 8, "tensor a: data_offsets has more than 2")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2]}}""", 8, "tensor a: dtype, shape and two data_offsets were expected")]
    [TestCase("""{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8, "tensor a: one each of dtype")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}}""", 8, "lists a twice")]
    [TestCase("""{"a":7}""", 0, "no object for a")]
    [TestCase("""{"a\u001b[31m":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8, "the tensor name a?[31m holds control characters")]
    [TestCase("""{"":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8, "a tensor's name has 0 characters")]
    [TestCase("""{"\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8, "not valid JSON")]
    [TestCase("""{"__metadata__":{"k":3}}""", 0, "metadata k is not a string")]
    [TestCase("""{"__metadata__":{"k":"1","k":"2"}}""", 0, "metadata k occurs twice")]
    [TestCase("""{} {}""", 0, "not valid JSON")]
    [TestCase(Float2, 7, "truncated: the tensors take 8 bytes, the file holds 7")]
    [TestCase(Float2, 9, "1 bytes follow the last tensor")]
    public void A_wrong_header_is_refused_by_name(string json, int dataBytes, string reason)
    {
        using var folder = new TestFolder();

        Assert.That(Refusal.Of(folder.WriteSafetensors("a.safetensors", json, dataBytes)), Does.Contain(reason));
    }

    [Test]
    public void A_header_of_empty_tensors_does_not_eat_the_memory()
    {
        using var folder = new TestFolder();
        var json = "{" + string.Join(",", Enumerable.Range(0, 70_000).Select(i => $$"""
            "{{i}}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}
            """)) + "}";

        Assert.That(Refusal.Of(folder.WriteSafetensors("a.safetensors", json, 0)), Does.Contain("at most 65536"));
    }

    private static byte[] Encode(double value, string type) => type switch
    {
        "F64" => BitConverter.GetBytes(value),
        "F32" => BitConverter.GetBytes((float)value),
        "F16" => BitConverter.GetBytes((Half)value),
        "BF16" => BitConverter.GetBytes((float)value)[2..],
        "I64" or "U64" => BitConverter.GetBytes((long)value),
        "I32" or "U32" => BitConverter.GetBytes((int)value),
        "I16" or "U16" => BitConverter.GetBytes((short)value),
        _ => MemoryMarshal.AsBytes<byte>([(byte)value]).ToArray(),
    };
}
