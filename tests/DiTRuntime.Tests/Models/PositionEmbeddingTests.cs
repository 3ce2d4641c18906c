using DiTRuntime.Checkpoints;
using DiTRuntime.Models;

namespace DiTRuntime.Tests.Models;

public sealed class PositionEmbeddingTests
{
    [Test]
    public void The_stored_positions_are_computed()
    {
        using var checkpoint = Checkpoint.Open(TestFiles.Golden("tiny/official.safetensors"));
        checkpoint.TryGet("pos_embed", out var stored);

        // One unit in the last place of fp32: the platform's sine may differ from the publisher's in the last place of a double.
        Assert.That(PositionEmbedding.Compute(64, 4), Is.EqualTo(stored!.ToArray()).Within(6e-8f));
    }

    [Test]
    public void The_first_half_encodes_the_column()
    {
        var positions = PositionEmbedding.Compute(8, 2);

        Assert.That(positions[8..12], Is.Not.EqualTo(positions[0..4]), "token (0,1) against (0,0): column");
        Assert.That(positions[12..16], Is.EqualTo(positions[4..8]), "token (0,1) against (0,0): row");
    }
}
