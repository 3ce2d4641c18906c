using DiTRuntime.Models;

namespace DiTRuntime.Tests.Models;

public sealed class DiTLabelsTests
{
    [Test]
    public void The_ImageNet_table_is_whole()
    {
        Assert.That(ImageNetClasses.WordNetIds, Has.Count.EqualTo(1000).And.Unique.And.Ordered.And.All.Match("^n[0-9]{8}$"));
        Assert.That(ImageNetClasses.Names, Has.Count.EqualTo(1000).And.All.Not.Empty);
    }

    [TestCase(0, "n01440764", "tench, Tinca tinca")]
    [TestCase(207, "n02099601", "golden retriever")]
    [TestCase(360, "n02444819", "otter")]
    [TestCase(999, "n15075141", "toilet tissue, toilet paper, bathroom tissue")]
    public void ImageNet_classes_are_found_by_id_and_name(int index, string wordNetId, string names)
    {
        var labels = ImageNetClasses.Labels;

        Assert.That(labels.NameOf(index), Is.EqualTo(names));
        Assert.That(labels.TryFind(wordNetId, out var byId) ? byId : -1, Is.EqualTo(index));
        Assert.That(labels.TryFind(names.Split(',')[0].ToUpperInvariant(), out var byName) ? byName : -1, Is.EqualTo(index));
    }

    [Test]
    public void Another_spelling_of_the_same_classes_is_recognised()
    {
        Assert.That(ImageNetClasses.AreNamedBy([.. ImageNetClasses.Names.Select((n, i) => i % 20 == 0 ? "?" : n)]), Is.True);
        Assert.That(ImageNetClasses.AreNamedBy([.. ImageNetClasses.Names.Reverse()]), Is.False);
    }
}
