using System.Text;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Checkpoints;

public sealed class SafetensorsWriterTests
{
    private static readonly Dictionary<string, string> s_metadata = new() { ["note"] = "déjà \"vu\"" };

    [Test]
    public void Written_tensors_read_back()
    {
        using var folder = new TestFolder();
        var path = folder["a.safetensors"];
        TensorValues[] tensors = [TensorValues.Of("x", [2, 2], [1f, 2f, 3f, 4f]), TensorValues.Of("y", [3], [5L, 6L, 7L]), TensorValues.Of("s", [], [8f])];

        AtomicFile.Write(path, stream => SafetensorsWriter.Write(stream, s_metadata, tensors));

        using var checkpoint = Checkpoint.Open(path);
        Assert.That(checkpoint.Metadata, Is.EquivalentTo(s_metadata));
        Assert.That(checkpoint.Tensors.Select(t => $"{t.Name} {t.Type} {t.ShapeText}"), Is.EqualTo(new[] { "y I64 [3]", "s F32 []", "x F32 [2,2]" }));
        Assert.That(checkpoint.Tensors.SelectMany(t => t.ToArray()), Is.EqualTo(new[] { 5f, 6f, 7f, 8f, 1f, 2f, 3f, 4f }));
    }

    [Test]
    public void The_data_begin_at_a_multiple_of_eight([Range(1, 8)] int nameLength)
    {
        using var stream = new MemoryStream();

        SafetensorsWriter.Write(stream, s_metadata, [TensorValues.Of(new string('n', nameLength), [1], [1f])]);

        Assert.That(BitConverter.ToInt64(stream.ToArray()) % 8, Is.Zero);
    }

    [Test]
    public void Order_and_data_are_those_of_the_golden_file()
    {
        var golden = TestFiles.Golden("tiny/official.safetensors");
        using var checkpoint = Checkpoint.Open(golden);
        TensorValues[] tensors = [.. checkpoint.Tensors.Reverse().Select(t => TensorValues.Of(t.Name, t.Shape.ToArray(), t.ToArray()))];
        using var stream = new MemoryStream();

        SafetensorsWriter.Write(stream, new Dictionary<string, string>(), tensors);

        Assert.That(Data(stream.ToArray()).SequenceEqual(Data(File.ReadAllBytes(golden))), Is.True);
    }

    [Test]
    public void A_callback_that_writes_too_little_is_caught()
    {
        using var stream = new MemoryStream();
        TensorDescription[] tensors = [new("a", ElementType.F16, [3])];

        Assert.That(() => SafetensorsWriter.Write(stream, s_metadata, tensors, (_, output) => output.Write("1234"u8)), Throws.InvalidOperationException);
    }

    [Test]
    public void Values_must_fill_the_shape() =>
        Assert.That(() => TensorValues.Of("a", [2, 2], [1f]), Throws.ArgumentException);

    [Test]
    public void Metadata_stay_readable_text()
    {
        using var stream = new MemoryStream();

        SafetensorsWriter.Write(stream, s_metadata, []);

        Assert.That(Encoding.UTF8.GetString(stream.ToArray()), Does.Contain("déjà"));
    }

    private static ReadOnlySpan<byte> Data(byte[] file) => file.AsSpan(8 + (int)BitConverter.ToInt64(file));
}
