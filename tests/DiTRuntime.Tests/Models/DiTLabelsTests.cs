using System.Text.Json;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Tests.Checkpoints;

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

    [Test]
    public void A_pipeline_trained_on_ImageNet_knows_names_and_ids()
    {
        using var folder = new TestFolder();
        var path = WritePipeline(folder, 1000, ImageNetClasses.Names.Select((name, i) => ($"{i}", i == 3 ? "renamed" : name)));

        using var weights = DiTWeightsLoader.Load(path);

        Assert.That(weights.Labels.NameOf(3), Is.EqualTo("renamed"));
        Assert.That(weights.Labels.TryFind("n02099601", out var index) ? index : -1, Is.EqualTo(207));
    }

    [Test]
    public void A_model_of_a_thousand_classes_without_names_has_those_of_ImageNet()
    {
        using var folder = new TestFolder();

        using var weights = DiTWeightsLoader.Load(WritePipeline(folder, 1000, []));

        Assert.That(weights.Labels.NameOf(0), Is.EqualTo("tench, Tinca tinca"));
    }

    [TestCase("10")]
    [TestCase("-1")]
    [TestCase("cat")]
    public void A_name_for_a_class_that_does_not_exist_is_refused(string key)
    {
        using var folder = new TestFolder();
        var path = WritePipeline(folder, 10, [(key, "x")]);

        Assert.That(Refusal.Of(path, () => DiTWeightsLoader.Load(path).Dispose()), Does.Contain($"id2label names class {key}; the label table has classes 0 to 9"));
    }

    private static string WritePipeline(TestFolder folder, int classCount, IEnumerable<(string Key, string Name)> labels)
    {
        var config = DiTConfigs.Parse("DiT-S/8") with { HiddenSize = 16, MlpSize = 16, Depth = 1, HeadCount = 2, ClassCount = classCount };
        SyntheticWeights.Write(config, 1, ElementType.F16, folder["pipe/transformer/diffusion_pytorch_model.safetensors"]);
        var names = labels.ToDictionary(label => label.Key, label => label.Name);
        folder.Write("pipe/model_index.json", names.Count > 0 ? JsonSerializer.Serialize(new { id2label = names }) : "{}");
        return folder["pipe/."];
    }
}
