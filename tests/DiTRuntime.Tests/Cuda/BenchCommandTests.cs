using DiTRuntime.Tests.Cli;

namespace DiTRuntime.Tests.Cuda;

/// <summary><c>dit bench</c>.</summary>
[TestFixture]
internal sealed class BenchCommandTests
{
    private readonly string _folder = Directory.CreateTempSubdirectory("dit-bench-").FullName;

    [OneTimeTearDown]
    public void Remove() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void Failed_check_ends_with_6_and_no_speed()
    {
        var folder = Path.Combine(_folder, "failed");
        string[] flags = ["bench", "--backend", "emulated", "--quick", "--filter", "condition", "--quiet", "--out", folder];
        CliRunner.Run([.. flags, "--tolerance-scale", "0"]).Failed(ExitCode.BarMissed, "1 of 1 checks failed", "condition f16", "README.md");
        Assert.That(Directory.EnumerateFiles(folder).Select(Path.GetFileName), Is.EquivalentTo(new[] { "README.md", "checks.csv" }));
        Assert.That(File.ReadAllText(Path.Combine(folder, "README.md")), Does.Not.Contain("## Kernels").And.Not.Contain("## Steps"));
        // The same kernel passes where its tolerance is as it should be.
        Assert.That(CliRunner.Run([.. flags, "--only", "check"]).Succeeded().Out, Does.Contain("All 1 within their tolerances"));
    }

    [TestCase("--only", "speed")]
    [TestCase("--backend", "cpu")]
    [TestCase("--rounds", "0")]
    [TestCase("--model", "DiT-XXL/2")]
    [TestCase("--backend", "emulated")]
    public void Bad_flags_are_refused(string flag, string value) => CliRunner.Run("bench", "--out", _folder, flag, value).Failed(ExitCode.Usage);
}
