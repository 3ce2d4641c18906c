using DiTRuntime.Models;

namespace DiTRuntime.Tests.Models;

public sealed class ClassLabelsTests
{
    private static readonly ClassLabels s_labels = new(["tench, Tinca tinca", "goldfish", "tench"], ["n01440764", "n01443537", "n00000001"]);

    [TestCase("Tinca tinca", 0)]
    [TestCase("TENCH, tinca tinca", 0)]
    [TestCase("tench", 2)]
    [TestCase("n01443537", 1)]
    public void A_class_is_found_by_each_name_and_by_all_of_them(string text, int expected)
    {
        Assert.That(s_labels.TryFind(text, out var index));
        Assert.That(index, Is.EqualTo(expected));
    }

    [Test]
    public void Ids_are_told_where_there_are_some()
    {
        Assert.That(new[] { -1, 0, 2, 3 }.Select(s_labels.WordNetIdOf), Is.EqualTo(new[] { null, "n01440764", "n00000001", null }));
        Assert.That(ClassLabels.Unknown.WordNetIdOf(0), Is.Null);
    }
}
