using DiTRuntime.Tests.Cli;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary><c>dit generate --backend emulated</c>, as a user runs it.</summary>
[TestFixture]
internal sealed class EngineCommandTests
{
    private static readonly string[] s_run = ["generate", "--backend", "emulated", "--class-labels", "3", "--steps", "1", "--cfg-scale", "1"];

    [OneTimeSetUp]
    public void SkipWithoutCompiler() => _ = TestDevice.Device;

    [Test]
    public void Digits_are_drawn_and_the_memory_is_told()
    {
        using var folder = new TemporaryFolder();
        var result = CliRunner.Run([.. s_run, "--out", folder["x.png"], "--json"]).Succeeded();
        using var json = System.Text.Json.JsonDocument.Parse(result.Out);
        Assert.That(json.RootElement.GetProperty("backend").GetString(), Is.EqualTo("emulated"));
        Assert.That(json.RootElement.GetProperty("peak_gpu_bytes").GetInt64(), Is.GreaterThan(18_000_000));
        Assert.That(new FileInfo(folder["x.png"]).Length, Is.GreaterThan(100));
    }

    [Test]
    public void A_limit_prints_a_plan()
    {
        using var folder = new TemporaryFolder();
        var result = CliRunner.Run([.. s_run, "--max-vram", "18", "--out", folder["x.png"]]).Succeeded();
        Assert.That(result.Error, Does.Contain("GPU memory: model").And.Contain("adaLN weights only while the table is made").And.Contain("peak"));
    }

    [Test]
    public void A_limit_that_nothing_fits_is_refused_before_anything_runs()
    {
        using var folder = new TemporaryFolder();
        CliRunner.Run([.. s_run, "--max-vram", "5", "--out", folder["x.png"]]).Failed(ExitCode.OutOfMemory, "--max-vram 5", "at least");
        Assert.That(File.Exists(folder["x.png"]), Is.False);
    }
}
