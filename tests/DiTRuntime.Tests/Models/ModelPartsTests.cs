using DiTRuntime.Checkpoints;
using DiTRuntime.Models;

namespace DiTRuntime.Tests.Models;

public sealed class ModelPartsTests
{
    [Test]
    public void Every_byte_belongs_to_a_part([Values("official.safetensors", "diffusers")] string layout)
    {
        using var checkpoint = Checkpoint.Open(TestFiles.Golden($"tiny/{layout}"));

        var parts = ModelParts.Of(checkpoint);

        Assert.That(parts.Select(p => p.Name), Is.EqualTo(new[] { "embedders", "attention", "MLP", "adaLN", "final layer" }));
        Assert.That(parts.Sum(p => p.ByteCount), Is.EqualTo(checkpoint.Tensors.Sum(t => t.ByteCount)));
        Assert.That(parts.Single(p => p.Name == "adaLN").ElementCount, Is.EqualTo(2 * (384 * 64 + 384)));
        Assert.That(parts.Single(p => p.Name == "attention").ElementCount, Is.EqualTo(2 * (4 * 64 * 64 + 4 * 64)));
    }
}
