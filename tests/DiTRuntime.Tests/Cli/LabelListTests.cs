using DiTRuntime.Cli.Generation;
using DiTRuntime.Models;

namespace DiTRuntime.Tests.Cli;

public sealed class LabelListTests
{
    private static readonly ClassLabels s_names = new(["tench, Tinca tinca", "goldfish", "crane"], ["n01440764", "n01443537", "n02012849"]);

    [TestCase("0", 0)]
    [TestCase("goldfish", 1)]
    [TestCase("GoldFish", 1)]
    [TestCase("Tinca tinca", 0)]
    [TestCase("n02012849", 2)]
    public void A_class_is_known_by_index_name_and_wordnet_id(string word, int expected) =>
        Assert.That(LabelList.Parse([word], s_names, 3), Is.EqualTo(new[] { expected }));

    [Test]
    public void Lists_mix_forms_and_keep_their_order() =>
        Assert.That(LabelList.Parse(["crane, 0", "goldfish"], s_names, 3), Is.EqualTo(new[] { 2, 0, 1 }));

    [Test]
    public void All_is_every_class_in_order() => Assert.That(LabelList.Parse(["2,all"], s_names, 3), Is.EqualTo(new[] { 2, 0, 1, 2 }));

    [TestCase("3")]
    [TestCase("-1")]
    [TestCase("whale")]
    [TestCase("")]
    [TestCase("1,,2")]
    public void An_unknown_class_is_refused(string text) => Assert.That(() => LabelList.Parse([text], s_names, 3), Throws.TypeOf<UsageException>());

    [Test]
    public void Without_labels_the_published_ones_or_the_first_ten_are_taken()
    {
        Assert.That(LabelList.Parse([], ClassLabels.Unknown, 1000), Is.EqualTo(new[] { 207, 360, 387, 974, 88, 979, 417, 279 }));
        Assert.That(LabelList.Parse([], ClassLabels.Unknown, 12), Is.EqualTo(Enumerable.Range(0, 10)));
        Assert.That(LabelList.Parse([], ClassLabels.Unknown, 4), Is.EqualTo(Enumerable.Range(0, 4)));
    }
}
