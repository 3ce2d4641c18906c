using System.Text.Json;
using DiTRuntime.Tests.Calibration.Evaluation;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Cli;

public sealed class VerifyTests
{
    private static readonly string s_reference = TestFiles.Golden("tiny/official.safetensors");

    private TemporaryFolder _folder = null!;
    private string _candidate = null!;

    [OneTimeSetUp]
    public void MakeCandidate()
    {
        _folder = new TemporaryFolder();
        _candidate = DisturbedModels.Write(_folder["candidate.safetensors"], "blocks.1.mlp.fc2.weight", 5f);
    }

    [OneTimeTearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void The_figures_have_their_fixed_keys()
    {
        var json = JsonDocument.Parse(Verify("--json").Succeeded().Out).RootElement;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json.GetProperty("eps_mse").GetDouble(), Is.GreaterThan(0));
            Assert.That(json.GetProperty("final_latent_snr_db").GetDouble(), Is.InRange(1, 100));
            Assert.That(json.GetProperty("image_psnr_db").ValueKind, Is.EqualTo(JsonValueKind.Null));
            Assert.That(json.GetProperty("blocks").EnumerateArray().Select(b => b.GetProperty("snr_db").GetDouble()).First(), Is.EqualTo(200));
            Assert.That(json.GetProperty("blocks")[1].GetProperty("cosine").GetDouble(), Is.InRange(0.5, 0.9999999));
            Assert.That(json.GetProperty("timesteps").GetArrayLength(), Is.EqualTo(2));
        }
    }

    [Test]
    public void The_table_tells_blocks_and_timesteps()
    {
        var lines = Verify().Succeeded().OutLines;
        Assert.That(lines, Has.Some.Contains("final latents").And.Some.Contains("--vae").And.Some.Match(@"^    1\s+0\.9\d+\s+\d+"));
    }

    [Test]
    public void Bars_that_are_held_are_silent() => Verify("--min-snr", "1", "--max-eps-mse", "1").Succeeded();

    [TestCase("--min-snr", "150", "--min-snr asks for 150")]
    [TestCase("--max-eps-mse", "1e-12", "--max-eps-mse allows 1E-12")]
    public void A_bar_that_is_missed_ends_with_6_and_one_line(string flag, string bar, string found)
    {
        var result = Verify(flag, bar, "--json");
        Assert.That(result.Code, Is.EqualTo((int)ExitCode.BarMissed), result.Error);
        Assert.That(result.ErrorLines, Has.Length.EqualTo(1));
        Assert.That(result.Error, Does.StartWith("dit: ").And.Contain("candidate.safetensors").And.Contain(found));
        Assert.That(() => JsonDocument.Parse(result.Out), Throws.Nothing);
    }

    [Test]
    public void Models_of_different_architecture_are_refused_by_name() =>
        CliRunner.Run("verify", TestFiles.DigitModel, TestFiles.Golden("tiny/diffusers")).Failed(ExitCode.Usage, "depth 6", "the candidate 2");

    [Test]
    public void A_missing_candidate_ends_with_3() => CliRunner.Run("verify", s_reference, "no.safetensors", "--heads", "2").Failed(ExitCode.InvalidFile, "no.safetensors");

    [Test]
    public void A_number_that_is_none_is_refused() => CliRunner.Run("verify", s_reference, s_reference, "--min-snr", "high").Failed(ExitCode.Usage, "--min-snr high");

    [Test]
    public void A_report_holds_charts_and_nothing_from_elsewhere()
    {
        Verify("--report", _folder["report"]).Succeeded();
        var page = File.ReadAllText(Path.Combine(_folder["report"], "report.html"));
        Assert.That(page, Does.Contain("<svg").And.Contain("candidate against official").And.Not.Contain("http").And.Not.Contain("<script"));
    }

    [Test]
    public void A_report_that_cannot_be_written_is_told_before_the_work() =>
        Verify("--report", s_reference).Failed(ExitCode.Usage, "official.safetensors");

    private CliResult Verify(params string[] flags) =>
        CliRunner.Run(["verify", s_reference, _candidate, "--heads", "2", "--steps", "2", "--samples", "2", .. flags]);
}
