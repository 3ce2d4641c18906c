using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace DiTRuntime.Tests;

/// <summary>Imports run one way: see docs/architecture.md.</summary>
[TestFixture]
internal sealed partial class ArchitectureTests
{
    /// <summary>What each part of the library may use; what is not listed uses nothing.</summary>
    private static readonly Dictionary<string, string[]> s_allowed = new()
    {
        ["Models"] = ["Backends", "Quantization", "Checkpoints", "Sampling", "Decoding", "Imaging"],
        ["Decoding"] = ["Backends", "Quantization", "Checkpoints"],
        ["Backends"] = ["Quantization", "Checkpoints", "Sampling"],
        ["Quantization"] = ["Checkpoints"],
    };

    private static readonly Dictionary<string, string[]> s_allowedProjects = new()
    {
        ["DiTRuntime"] = [],
        ["DiTRuntime.Calibration"] = ["DiTRuntime"],
        ["DiTRuntime.Cuda"] = ["DiTRuntime"],
        ["DiTRuntime.Exporter"] = ["DiTRuntime", "DiTRuntime.Cuda"],
        ["DiTRuntime.Serving"] = ["DiTRuntime", "DiTRuntime.Cuda"],
        ["DiTRuntime.Cli"] = ["DiTRuntime", "DiTRuntime.Calibration", "DiTRuntime.Cuda", "DiTRuntime.Exporter", "DiTRuntime.Serving"],
    };

    [Test]
    public void Usings_of_the_library_run_one_way()
    {
        var library = Path.Combine(TestFiles.Root, "src/DiTRuntime");
        var wrong = new List<string>();
        foreach (var file in Directory.EnumerateFiles(library, "*.cs", SearchOption.AllDirectories))
        {
            var relative = Path.GetRelativePath(library, file).Replace('\\', '/');
            if (relative.StartsWith("obj/", StringComparison.Ordinal) || !relative.Contains('/')) continue;
            var part = relative.Split('/')[0];
            foreach (Match match in PartUsed().Matches(File.ReadAllText(file)))
            {
                var used = match.Groups[1].Value;
                if (used != part && !s_allowed.GetValueOrDefault(part, []).Contains(used)) wrong.Add($"{relative} uses {used}");
            }
        }

        Assert.That(wrong, Is.Empty);
    }

    [Test]
    public void Projects_refer_downwards_only()
    {
        foreach (var file in new[] { "src", "tools" }.SelectMany(folder => Directory.EnumerateFiles(Path.Combine(TestFiles.Root, folder), "*.csproj", SearchOption.AllDirectories)))
        {
            var project = Path.GetFileNameWithoutExtension(file);
            var references = XDocument.Load(file).Descendants("ProjectReference").Select(r => Path.GetFileNameWithoutExtension(r.Attribute("Include")!.Value));
            Assert.That(references, Is.SubsetOf(s_allowedProjects[project]), project);
        }
    }

    [Test]
    public void Files_stay_readable()
    {
        var tooLong = Directory.EnumerateFiles(TestFiles.Root, "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal))
            .Where(f => File.ReadLines(f).Count() > 500)
            .Select(f => Path.GetRelativePath(TestFiles.Root, f));
        Assert.That(tooLong, Is.Empty);
    }

    [GeneratedRegex(@"^(?:global )?using (?:static )?DiTRuntime\.(\w+)", RegexOptions.Multiline)]
    private static partial Regex PartUsed();
}
