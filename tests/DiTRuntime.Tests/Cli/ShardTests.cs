using DiTRuntime.Cli.Generation;

namespace DiTRuntime.Tests.Cli;

public sealed class ShardTests
{
    [Test]
    public void Shards_split_a_run_without_gap_or_overlap([Values(1, 2, 3, 7)] int total, [Values(7, 8, 20)] int count)
    {
        var images = Enumerable.Range(1, total).SelectMany(number => Shard.Parse($"{number}/{total}").Images(count));
        Assert.That(images, Is.EquivalentTo(Enumerable.Range(0, count)));
    }

    [Test]
    public void A_shard_takes_every_nth_image() => Assert.That(Shard.Parse("2/3").Images(9), Is.EqualTo(new[] { 1, 4, 7 }));

    [TestCase("0+1/4", 1)]
    [TestCase("3+1/4", 4)]
    public void A_number_counted_from_zero_is_written_with_plus_one(string text, int number) => Assert.That(Shard.Parse(text), Is.EqualTo(new Shard(number, 4)));

    [TestCase("4+1/4")]
    [TestCase("+1/4")]
    [TestCase("1+2/4")]
    [TestCase("1+1")]
    [TestCase("0/2")]
    [TestCase("3/2")]
    [TestCase("1")]
    [TestCase("1/")]
    [TestCase("/2")]
    [TestCase("-1/2")]
    [TestCase("1/2/3")]
    [TestCase("a/b")]
    [TestCase("")]
    public void Another_form_is_refused(string text) => Assert.That(() => Shard.Parse(text), Throws.TypeOf<UsageException>().With.Message.Contains("i/n"));
}
