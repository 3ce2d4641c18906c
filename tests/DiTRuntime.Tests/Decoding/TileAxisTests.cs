using DiTRuntime.Decoding;

namespace DiTRuntime.Tests.Decoding;

internal sealed class TileAxisTests
{
    [Test]
    public void Tiles_cover_every_position_and_their_shares_add_up_to_one(
        [Values(1, 7, 8, 9, 10, 14, 15, 17, 31, 64, 100)] int length, [Values(4, 8, 13)] int largest, [Values(1, 8)] int upscale)
    {
        var axis = new TileAxis(length, largest);
        var sums = new double[length * upscale];
        for (var tile = 0; tile < axis.Count; tile++)
        {
            var shares = axis.Shares(tile, upscale);
            Assert.That(shares, Has.Length.EqualTo(axis.Size * upscale).And.All.InRange(0f, 1f));
            for (var i = 0; i < shares.Length; i++) sums[axis.Start(tile) * upscale + i] += shares[i];
        }

        Assert.That(sums, Is.All.EqualTo(1.0).Within(1e-6));
        Assert.That(axis.Start(0), Is.Zero);
        Assert.That(axis.Start(axis.Count - 1) + axis.Size, Is.EqualTo(length));
    }

    [Test]
    public void Neighbours_share_a_quarter_of_a_tile_at_least([Range(65, 400, 5)] int length)
    {
        var axis = new TileAxis(length, 64);
        for (var tile = 1; tile < axis.Count; tile++)
            Assert.That(axis.Start(tile - 1) + axis.Size - axis.Start(tile), Is.GreaterThanOrEqualTo(16));
    }

    [TestCase(64, 1)]
    [TestCase(65, 2)]
    [TestCase(112, 2)]
    [TestCase(113, 3)]
    public void No_more_tiles_are_made_than_needed(int length, int count) =>
        Assert.That(new TileAxis(length, 64).Count, Is.EqualTo(count));

    [Test]
    public void Share_rises_linearly_over_the_overlap()
    {
        var axis = new TileAxis(14, 8);
        Assert.That(axis.Start(1), Is.EqualTo(6));
        Assert.That(axis.Shares(1, 2)[..6], Is.EqualTo(new[] { 0f, 0.25f, 0.5f, 0.75f, 1f, 1f }));
        Assert.That(axis.Shares(0, 2)[10..], Is.EqualTo(new[] { 1f, 1f, 1f, 0.75f, 0.5f, 0.25f }));
    }
}
