using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Checkpoints;

public sealed class PyTorchFileTests
{
    private static readonly byte[] s_numbers = MemoryMarshal.AsBytes<float>(Enumerable.Range(0, 12).Select(i => (float)i).ToArray()).ToArray();

    private readonly TestFolder _folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void The_official_file_holds_what_the_safetensors_file_holds([Values("official.pt", "train.pt")] string name)
    {
        using var zip = Checkpoint.Open(TestFiles.Golden($"tiny/{name}"));
        using var plain = Checkpoint.Open(TestFiles.Golden("tiny/official.safetensors"));

        Assert.That(zip.Kind, Is.EqualTo(name == "train.pt" ? "PyTorch zip (ema)" : "PyTorch zip"));
        Assert.That(zip.Tensors.Select(t => t.Name), Is.EquivalentTo(plain.Tensors.Select(t => t.Name)));
        foreach (var tensor in zip.Tensors)
        {
            Assert.That(plain.TryGet(tensor.Name, out var other), Is.True);
            Assert.That(tensor.Shape.SequenceEqual(other!.Shape) && tensor.Bytes.SequenceEqual(other.Bytes), Is.True, tensor.Name);
        }
    }

    [TestCase(0, new long[] { 3, 4 }, new long[] { 4, 1 }, new float[] { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 })]
    [TestCase(0, new long[] { 4, 3 }, new long[] { 1, 4 }, new float[] { 0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11 })]
    [TestCase(5, new long[] { 2, 2 }, new long[] { 4, 2 }, new float[] { 5, 7, 9, 11 })]
    [TestCase(11, new long[] { }, new long[] { }, new float[] { 11 })]
    [TestCase(12, new long[] { 0 }, new long[] { 1 }, new float[] { })]
    [TestCase(1, new long[] { 1, 2, 3 }, new long[] { 99, 6, 2 }, new float[] { 1, 3, 5, 7, 9, 11 })]
    public void Views_are_read_through_offset_and_strides(long offset, long[] shape, long[] strides, float[] expected)
    {
        using var checkpoint = Checkpoint.Open(Write(p => p.Dictionary(("a", w => w.Tensor("FloatStorage", "0", 12, offset, shape, strides)))));

        Assert.That(checkpoint.Tensors[0].ToArray(), Is.EqualTo(expected));
        Assert.That(checkpoint.Tensors[0].Shape.ToArray(), Is.EqualTo(shape));
    }

    [Test]
    public void A_storage_may_be_shared()
    {
        using var checkpoint = Checkpoint.Open(Write(p => p.Dictionary(
            ("a", w => w.Tensor("FloatStorage", "0", 12, 0, [2], [1])), ("b", w => w.Tensor("FloatStorage", "0", 12, 1, [2], [1])))));

        Assert.That(checkpoint.Tensors.Select(t => t.ToArray()), Is.EqualTo(new float[][] { [0, 1], [1, 2] }));
    }

    [TestCase("DoubleStorage", 6)]
    [TestCase("HalfStorage", 24)]
    [TestCase("BFloat16Storage", 24)]
    [TestCase("LongStorage", 6)]
    [TestCase("ByteStorage", 48)]
    public void Other_element_types_are_read(string type, int count)
    {
        using var checkpoint = Checkpoint.Open(Write(p => p.Dictionary(("a", w => w.Tensor(type, "0", count, 0, [count], [1])))));

        Assert.That(checkpoint.Tensors[0].Bytes.SequenceEqual(s_numbers), Is.True);
    }

    [Test]
    public void A_parameter_is_its_tensor_and_the_state_of_a_dictionary_is_passed_over()
    {
        using var checkpoint = Checkpoint.Open(Write(p => p.OrderedDictionary().Op('(').Text("a").Global("torch._utils", "_rebuild_parameter")
            .Op('(').Tensor("FloatStorage", "0", 12, 0, [12], [1]).Op(0x88).OrderedDictionary().Op('t').Op('R').Op('u')
            .Op('}').Text("_metadata").OrderedDictionary().Op('s').Op('b')));

        Assert.That(checkpoint.Tensors[0].Count, Is.EqualTo(12));
    }

    [TestCase("ema", "model", "ema")]
    [TestCase("model", "opt", "model")]
    [TestCase("epoch", "state_dict", "state_dict")]
    public void The_weights_of_a_training_checkpoint_are_found(string first, string second, string chosen)
    {
        void Part(PickleWriter writer, string name) => writer.Dictionary(($"in_{name}", w => w.Tensor("FloatStorage", "0", 12, 0, [12], [1])));

        using var checkpoint = Checkpoint.Open(Write(p => p.Dictionary((first, w => Part(w, first)), (second, w => Part(w, second)))));

        Assert.That(checkpoint.Tensors.Select(t => t.Name), Is.EqualTo(new[] { $"in_{chosen}" }));
    }

    [Test]
    public void Unknown_globals_beside_the_weights_are_data()
    {
        using var checkpoint = Checkpoint.Open(Write(p => p.Dictionary(
            ("ema", w => w.Dictionary(("a", v => v.Tensor("FloatStorage", "0", 12, 0, [12], [1])))),
            ("args", w => w.Global("argparse", "Namespace").Op(')').Op(0x81).Dictionary(("lr", v => v.Number(1))).Op('b')),
            ("other", w => w.Global("somewhere", "make").Tuple(1, 2).Op('R')))));

        Assert.That(checkpoint.Tensors, Has.Count.EqualTo(1));
    }

    [TestCase("os", "system", "os.system")]
    [TestCase("posix", "system", "posix.system")]
    [TestCase("subprocess", "Popen", "subprocess.Popen")]
    [TestCase("builtins", "eval", "builtins.eval")]
    [TestCase("__builtin__", "getattr", "__builtin__.getattr")]
    [TestCase("importlib.util", "find_spec", "importlib.util.find_spec")]
    [TestCase("torch._utils", "os.system", "torch._utils.os.system")]
    public void A_global_that_only_an_attack_needs_is_refused_by_name(string module, string name, string shown)
    {
        var path = Write(p => p.Dictionary(("a", w => w.Global(module, name).Op('(').Text("true").Op('t').Op('R'))));

        Assert.That(Refusal.Of(path), Does.Contain($"the pickle names {shown}"));
    }

    [TestCase(0, new long[] { 13 }, new long[] { 1 }, 12)]
    [TestCase(1, new long[] { 12 }, new long[] { 1 }, 12)]
    [TestCase(-1, new long[] { 2 }, new long[] { 1 }, 12)]
    [TestCase(0, new long[] { 3, 4 }, new long[] { 5, 1 }, 12)]
    [TestCase(0, new long[] { 2 }, new long[] { long.MaxValue }, 12)]
    [TestCase(11, new long[] { 2 }, new long[] { -1 }, 12)]
    [TestCase(0, new long[] { 1000 }, new long[] { 0 }, 12)]
    [TestCase(12, new long[] { }, new long[] { }, 12)]
    [TestCase(0, new long[] { 3, 4 }, new long[] { 1 }, 12)]
    [TestCase(0, new long[] { 12 }, new long[] { 1 }, 13)]
    [TestCase(0, new long[] { 65536, 65536 }, new long[] { 0, 0 }, 12)]
    public void A_view_outside_its_storage_is_refused_by_name(long offset, long[] shape, long[] strides, long count)
    {
        var path = Write(p => p.Dictionary(("weights.a", w => w.Tensor("FloatStorage", "0", count, offset, shape, strides))));

        Assert.That(Refusal.Of(path), Does.Contain("tensor weights.a"));
    }

    [Test]
    public void A_missing_storage_and_an_unknown_type_are_refused_by_name()
    {
        Assert.That(Refusal.Of(Write(p => p.Dictionary(("a", w => w.Tensor("FloatStorage", "7", 12, 0, [12], [1]))))), Does.Contain("tensor a: the archive has no entry data/7"));
        Assert.That(Refusal.Of(Write(p => p.Dictionary(("a", w => w.Tensor("QInt8Storage", "0", 12, 0, [12], [1]))))), Does.Contain("tensor a lies in a QInt8Storage"));
    }

    [TestCase(new byte[] { 0x80, 4, (byte)'}' }, "protocol 4")]
    [TestCase(new byte[] { (byte)'i' }, "opcode 0x69")]
    [TestCase(new byte[] { (byte)'h', 9 }, "fetches entry 9")]
    [TestCase(new byte[] { (byte)'t' }, "takes more from the stack")]
    [TestCase(new byte[] { (byte)'N', (byte)'(', (byte)'a' }, "takes more from the stack")]
    [TestCase(new byte[] { (byte)'N', (byte)')', (byte)'R' }, "applies something that is not a global")]
    [TestCase(new byte[] { (byte)'N' }, "something other than a state dict")]
    [TestCase(new byte[] { (byte)'X', 255, 255, 255, 255 }, "a text of 4294967295 bytes")]
    [TestCase(new byte[] { (byte)'c', (byte)'o' }, "unfinished line")]
    [TestCase(new byte[] { (byte)')', (byte)'Q' }, "not a tensor's storage")]
    public void A_damaged_pickle_is_refused(byte[] code, string reason) =>
        Assert.That(Refusal.Of(Write(p => p.Op(code))), Does.Contain(reason));

    [Test]
    public void A_pickle_that_builds_without_end_is_refused()
    {
        var many = new byte[4 << 20];
        Array.Fill(many, (byte)']');

        Assert.That(Refusal.Of(Write(p => p.Op(many))), Does.Contain("builds more than 40 MiB"));
    }

    [Test]
    public void An_entry_that_is_no_tensor_is_refused_by_name() =>
        Assert.That(Refusal.Of(Write(p => p.Dictionary(("a", w => w.Number(3))))), Does.Contain("entry a of the state dict is not a tensor"));

    [Test]
    public void Big_endian_files_are_refused()
    {
        var zip = new ZipWriter().Add("m/data.pkl", new PickleWriter().Op('}').ToArray()).Add("m/byteorder", "big"u8.ToArray());

        Assert.That(Refusal.Of(_folder.Write("big.pt", zip.ToArray())), Does.Contain("little-endian"));
    }

    private string Write(Func<PickleWriter, PickleWriter> pickle) =>
        _folder.Write("a.pt", ZipWriter.Checkpoint(pickle(new PickleWriter()).ToArray(), ("0", s_numbers)));
}
