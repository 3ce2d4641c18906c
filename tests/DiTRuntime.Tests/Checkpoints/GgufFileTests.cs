using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Checkpoints;

public sealed class GgufFileTests
{
    private static readonly byte[] s_bytes = [.. Enumerable.Range(0, 24).Select(i => (byte)i)];

    private readonly TestFolder _folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void Tensors_and_facts_are_read()
    {
        float[] values = [1, 2, 3, 4, 5, 6];
        var path = Write(new GgufWriter().Fact("general.architecture", "taesd").Fact("n", 4, w => w.Write(7u))
            .Fact("tokens", 9, w =>
            {
                w.Write(8u);
                w.Write(2L);
                GgufWriter.Text(w, "a");
                GgufWriter.Text(w, "bc");
            })
            .Tensor("w", [2, 3], 0, [.. values.SelectMany(BitConverter.GetBytes)])
            .Tensor("h", [6], 1, [.. values.SelectMany(v => BitConverter.GetBytes((Half)v))])
            .Tensor("b", [6], 30, [.. values.SelectMany(v => BitConverter.GetBytes(v)[2..])]));

        using var checkpoint = Checkpoint.Open(path);

        Assert.That(checkpoint.Kind, Is.EqualTo("GGUF v3"));
        Assert.That(checkpoint.Metadata, Is.EquivalentTo(new Dictionary<string, string> { ["general.architecture"] = "taesd", ["n"] = "7", ["tokens"] = "[2 values]" }));
        Assert.That(checkpoint.Tensors[0].ShapeText, Is.EqualTo("[2,3]"));
        Assert.That(checkpoint.Tensors.Select(t => t.ToArray()), Is.All.EqualTo(values));
    }

    [Test]
    public void Another_alignment_is_honoured()
    {
        var writer = new GgufWriter().Fact("general.alignment", 4, w => w.Write(64u)).Tensor("a", [24], 24, s_bytes).Tensor("b", [24], 24, s_bytes);

        using var checkpoint = Checkpoint.Open(_folder.Write("aligned.gguf", writer.ToArray(alignment: 64)));

        Assert.That(checkpoint.Tensors[1].Bytes.SequenceEqual(s_bytes), Is.True);
    }

    [TestCase(2u, "Q4_0")]
    [TestCase(12u, "Q4_K")]
    [TestCase(8u, "Q8_0")]
    [TestCase(4_000_000u, "number 4000000")]
    public void Quantized_tensors_are_refused_by_name(uint type, string shown) =>
        Assert.That(Refuse(new GgufWriter().Tensor("blocks.0.w", [32], type, s_bytes)), Does.Contain($"tensor blocks.0.w has the GGUF type {shown}, which is not supported"));

    [Test]
    public void A_wrong_header_is_refused()
    {
        Assert.That(Refuse(new GgufWriter { Version = 2 }), Does.Contain("version 2; 3 was expected"));
        Assert.That(Refuse(new GgufWriter { Version = 0x03000000 }), Does.Contain("big-endian"));
        Assert.That(Refuse(new GgufWriter { TensorCount = ulong.MaxValue }), Does.Contain("claims 18446744073709551615 tensors"));
        Assert.That(Refuse(new GgufWriter { FactCount = 1UL << 40 }), Does.Contain("claims 0 tensors and 1099511627776 key-values"));
        Assert.That(Refusal.Of(_folder.Write("a.gguf", "GGUF\x03"u8.ToArray())), Does.Contain("truncated"));
    }

    [Test]
    public void Wrong_facts_are_refused()
    {
        Assert.That(Refuse(new GgufWriter().Fact("k", 8, w => w.Write(1L << 50))), Does.Contain("key k claims a text"));
        Assert.That(Refuse(new GgufWriter().Fact("k", 99, w => w.Write(0))), Does.Contain("key k has the unknown type 99"));
        Assert.That(Refuse(new GgufWriter().Fact("k", "a").Fact("k", "b")), Does.Contain("key k occurs twice"));
        Assert.That(Refuse(new GgufWriter().Fact("general.alignment", 4, w => w.Write(0u))), Does.Contain("a power of two"));
        Assert.That(Refuse(new GgufWriter().Fact("k", 9, w =>
        {
            w.Write(12u);
            w.Write(1L << 61);
        })), Does.Contain("claims 2305843009213693952 values"));
    }

    [Test]
    public void Wrong_tensors_are_refused_by_name()
    {
        Assert.That(Refuse(new GgufWriter().Tensor("a", [25], 24, s_bytes)), Does.Contain("truncated: tensor a takes 25 bytes"));
        Assert.That(Refuse(new GgufWriter().Tensor("a", [1L << 40, 1L << 40], 0, s_bytes)), Does.Contain("tensor a F32 [1099511627776,1099511627776] overflows"));
        Assert.That(Refuse(new GgufWriter().Tensor("a", [1, 1, 1, 1, 1], 0, s_bytes)), Does.Contain("tensor a has 5 dimensions"));
        Assert.That(Refuse(new GgufWriter().Tensor("a", [6], 0, s_bytes).Tensor("a", [6], 0, s_bytes)), Does.Contain("tensor a occurs twice"));
        Assert.That(Refuse(new GgufWriter().Tensor(new string('n', 65), [6], 0, s_bytes)), Does.Contain("65 bytes; GGUF allows 64"));
        Assert.That(Refuse(new GgufWriter { OffsetError = 4 }.Tensor("a", [6], 0, s_bytes).Tensor("b", [6], 0, s_bytes)), Does.Contain("tensor b: the offset 36 is no multiple"));
        Assert.That(Refuse(new GgufWriter { OffsetError = -32 }.Tensor("a", [6], 0, s_bytes).Tensor("b", [6], 0, s_bytes)), Does.Contain("overlaps"));
    }

    private string Write(GgufWriter writer) => _folder.Write("a.gguf", writer.ToArray());

    private string Refuse(GgufWriter writer) => Refusal.Of(Write(writer));
}
