using DiTRuntime.Models;

namespace DiTRuntime.Tests.Models;

public sealed class DiTConfigsTests
{
    [TestCase("DiT-XL/2", 32, 675_129_632)]
    [TestCase("DiT-XL/2", 64, 676_014_368)]
    [TestCase("DiT-L/2", 32, 458_102_816)]
    [TestCase("DiT-B/2", 32, 130_512_416)]
    [TestCase("DiT-S/2", 32, 32_963_360)]
    [TestCase("DiT-XL/4", 32, 675_074_432)]
    [TestCase("DiT-XL/8", 32, 675_683_072)]
    [TestCase("DiT-L/4", 32, 458_053_760)]
    [TestCase("DiT-B/4", 32, 130_475_648)]
    [TestCase("DiT-S/4", 32, 32_945_024)]
    [TestCase("DiT-S/8", 32, 33_148_160)]
    public void The_published_models_have_the_published_sizes(string name, int inputSize, long elements)
    {
        var config = DiTConfigs.Parse(name, inputSize);

        Assert.That(DiTLayout.Official.Tensors(config).Sum(t => t.Shape.Aggregate(1L, (a, b) => a * b)), Is.EqualTo(elements));
        Assert.That(DiTConfigs.NameOf(config), Is.EqualTo(name));
    }

    [Test]
    public void All_twelve_names_are_known()
    {
        Assert.That(DiTConfigs.Names, Has.Count.EqualTo(12).And.Unique);
        Assert.That(DiTConfigs.Names.Select(n => DiTConfigs.NameOf(DiTConfigs.Parse(n))), Is.EqualTo(DiTConfigs.Names));
        Assert.That(DiTConfigs.NameOf(DiTConfigs.Parse("xl/2")), Is.EqualTo("DiT-XL/2"));
    }

    [TestCase("DiT-XXL/2")]
    [TestCase("DiT-XL/3")]
    [TestCase("")]
    public void Unknown_names_are_refused_with_the_known_ones(string name) =>
        Assert.That(() => DiTConfigs.Parse(name), Throws.TypeOf<UsageException>().With.Message.Contains("DiT-XL/2, DiT-XL/4"));

    [Test]
    public void A_size_that_patches_do_not_tile_is_refused() =>
        Assert.That(() => DiTConfigs.Parse("DiT-S/8", 36), Throws.TypeOf<UsageException>().With.Message.Contains("multiple of 8"));

    [Test]
    public void Another_architecture_is_called_by_its_dimensions() =>
        Assert.That(DiTConfigs.NameOf(DiTConfigs.Parse("DiT-S/4") with { HiddenSize = 288, Depth = 6 }), Is.EqualTo("DiT 288x6, patch 4"));
}
