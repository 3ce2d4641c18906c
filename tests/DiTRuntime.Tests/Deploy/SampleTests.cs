using DiTRuntime.Tests.Cli;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Deploy;

/// <summary>The sample of library use, run as a program of its own.</summary>
public sealed class SampleTests
{
    [Test]
    public void Its_images_are_those_of_the_command()
    {
        using var folder = new TemporaryFolder();
        using var process = CliRunner.Start("dotnet", [Path.Combine(AppContext.BaseDirectory, "InYourApplication.dll"), "--backend", "cpu", "--folder", folder["images"]]);
        var result = CliRunner.Finish(process).Succeeded();
        Assert.That(result.OutLines[0], Does.StartWith("digits: 32x32 pixels, 10 classes, on cpu"));
        Assert.That(result.OutLines[1..].Select(Path.GetFileName), Is.EquivalentTo(new[] { "quick-0.png", "quick-1.png", "quick-2.png", "careful-0.png" }));
        Assert.That(result.Error, Does.Contain("quick: 30 of 30 steps, 3 of 3 images"));

        CliRunner.Run("generate", "--backend", "cpu", "--class-labels", "3,1,4", "--seed", "7", "--cfg-scale", "2", "--steps", "10", "--out", folder["quick/"]).Succeeded();
        CliRunner.Run("generate", "--backend", "cpu", "--class-labels", "8", "--seed", "8", "--sampler", "ddpm", "--steps", "25", "--out", folder["careful/"]).Succeeded();
        foreach (var (sample, command) in new[] { ("quick-0", "quick/000000"), ("quick-1", "quick/000001"), ("quick-2", "quick/000002"), ("careful-0", "careful/000000") })
            Assert.That(File.ReadAllBytes(folder[$"images/{sample}.png"]).AsSpan().SequenceEqual(File.ReadAllBytes(folder[$"{command}.png"])), sample);
    }
}
