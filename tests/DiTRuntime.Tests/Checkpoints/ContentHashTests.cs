using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Checkpoints;

public sealed class ContentHashTests
{
    [Test]
    public void The_same_tensors_have_the_same_fingerprint_in_any_container()
    {
        var plain = ContentHash.Of(TestFiles.Golden("tiny/official.safetensors"));

        Assert.That(plain, Does.Match("^[0-9a-f]{10}$"));
        Assert.That(ContentHash.Of(TestFiles.Golden("tiny/official.pt")), Is.EqualTo(plain));
        Assert.That(ContentHash.Of(TestFiles.Golden("tiny/diffusers")), Is.Not.EqualTo(plain));
    }

    [Test]
    public void Another_value_or_name_has_another_fingerprint()
    {
        using var folder = new TestFolder();
        string Hash(string name, float value)
        {
            using var stream = File.Create(folder["a.safetensors"]);
            SafetensorsWriter.Write(stream, new Dictionary<string, string>(), [TensorValues.Of(name, [1], [value])]);
            stream.Dispose();
            return ContentHash.Of(folder["a.safetensors"]);
        }

        Assert.That(new[] { Hash("a", 1), Hash("a", 2), Hash("b", 1) }, Is.Unique);
    }
}
