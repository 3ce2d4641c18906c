using System.Text.Json;
using DiTRuntime.Models;

namespace DiTRuntime.Tests.Models;

public sealed class DiTLayoutTests
{
    [Test]
    public void Names_and_shapes_are_those_of_the_published_file([Values("dit_xl2_256_official", "dit_xl2_diffusers")] string manifest)
    {
        using var json = JsonDocument.Parse(File.ReadAllText(TestFiles.Golden("tensor_manifest.json")));
        var published = json.RootElement.GetProperty(manifest).EnumerateArray().Select(t => $"{t[0]} {t[1].GetRawText()}");
        var layout = manifest == "dit_xl2_diffusers" ? DiTLayout.Diffusers : DiTLayout.Official;

        var tensors = layout.Tensors(DiTConfigs.Parse("DiT-XL/2")).Select(t => $"{t.Name} [{string.Join(",", t.Shape)}]");

        Assert.That(tensors, Is.EquivalentTo(published));
    }
}
