using System.Text.Json;
using System.Text.RegularExpressions;

namespace DiTRuntime.Tests.Deploy;

/// <summary>The recipe of the image against the repository: there is no builder here to run it.</summary>
public sealed class DockerfileTests
{
    /// <summary>The recipe.</summary>
    public static string Text { get; } = File.ReadAllText(Manifests.Path("Dockerfile"));

    [Test]
    public void Base_images_are_the_builders_choice()
    {
        var stages = Instructions("FROM").Select(line => line.Split(' ')[0]).ToArray();
        Assert.That(stages, Is.EqualTo(new[] { "${SDK_IMAGE}", "${RUNTIME_IMAGE}" }));
        // A host has a dot or a port before the first slash.
        foreach (var argument in Instructions("ARG")) Assert.That(argument, Does.Not.Match(@"=[^/]*[.:][^/]*/"));
    }

    [Test]
    public void The_program_runs_as_a_number_and_without_a_shell()
    {
        Assert.That(Instructions("USER").Single(), Does.Match(@"^[1-9]\d*:[1-9]\d*$"));
        foreach (var line in Instructions("ENTRYPOINT").Concat(Instructions("CMD"))) Assert.That(() => JsonSerializer.Deserialize<string[]>(line), Throws.Nothing, line);
        Assert.That(JsonSerializer.Deserialize<string[]>(Instructions("ENTRYPOINT").Single()), Is.EqualTo(new[] { "/app/dit" }));
    }

    [Test]
    public void It_serves_on_the_port_that_it_exposes()
    {
        var words = JsonSerializer.Deserialize<string[]>(Instructions("CMD").Single())!;
        Assert.That(words[0], Is.EqualTo("serve"));
        Assert.That(words[Array.IndexOf(words, "--port") + 1], Is.EqualTo(Instructions("EXPOSE").Single()));
        Assert.That(words[Array.IndexOf(words, "--host") + 1], Is.EqualTo("0.0.0.0"));
    }

    [Test]
    public void The_build_sees_every_file_that_it_needs()
    {
        var kept = File.ReadLines(Manifests.Path("Dockerfile.dockerignore")).Where(line => line.StartsWith('!')).Select(line => line[1..]).ToArray();
        foreach (var path in kept) Assert.That(Path.Exists(Path.Combine(TestFiles.Root, path)), path);
        // What the published projects refer to outside their own folders.
        foreach (var project in Directory.GetFiles(Path.Combine(TestFiles.Root, "src"), "*.csproj", SearchOption.AllDirectories).Append(Path.Combine(TestFiles.Root, "tools/DiTRuntime.Exporter/DiTRuntime.Exporter.csproj")))
        {
            foreach (Match match in Regex.Matches(File.ReadAllText(project), "Include=\"([^\"]*)\""))
            {
                foreach (var word in match.Groups[1].Value.Split(';').Where(word => word.StartsWith("..", StringComparison.Ordinal)))
                {
                    var path = Path.GetRelativePath(TestFiles.Root, Path.GetFullPath(Path.Combine(Path.GetDirectoryName(project)!, word.Split('*')[0]))).Replace('\\', '/');
                    Assert.That(kept.Any(k => path == k || path.StartsWith(k + "/", StringComparison.Ordinal)), $"{project}: {path}");
                }
            }
        }
    }

    [Test]
    public void Its_publish_command_is_the_one_that_is_tested() =>
        Assert.That(Text, Does.Contain($"dotnet publish {string.Join(' ', PublishedProgram.PublishArguments)} -o /app"));

    private static string[] Instructions(string name) => [.. Regex.Matches(Text, $@"(?m)^{name} (.*)$").Select(m => m.Groups[1].Value)];
}
