using System.Text.Json;
using DiTRuntime.Cli;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Cli;

public sealed class CommandLineTests
{
    [Test]
    public void Help_lists_the_commands_of_this_build()
    {
        var result = CliRunner.Run("--help").Succeeded();
        foreach (var command in new[] { "generate", "inspect", "forward", "synthesize", "verify", "eval" }) Assert.That(result.Out, Does.Contain($"\n  {command}"));
        Assert.That(result.Error, Is.Empty);
    }

    [TestCase("--backend")]
    [TestCase("--threads")]
    [TestCase("--json")]
    [TestCase("--quiet")]
    [TestCase("--verbose")]
    [TestCase("--model")]
    [TestCase("--vae")]
    [TestCase("--class-labels")]
    [TestCase("--steps")]
    [TestCase("--sampler")]
    [TestCase("--spacing")]
    [TestCase("--eta")]
    [TestCase("--cfg-scale")]
    [TestCase("--cfg-channels")]
    [TestCase("--seed")]
    [TestCase("--noise")]
    [TestCase("--latents")]
    [TestCase("--compat")]
    [TestCase("--heads")]
    [TestCase("--image-size")]
    [TestCase("--count")]
    [TestCase("--batch")]
    [TestCase("--shard")]
    [TestCase("--out")]
    [TestCase("--grid")]
    [TestCase("--npz")]
    [TestCase("--save-latents")]
    [TestCase("--latents-only")]
    public void Generate_has_the_flag_under_its_fixed_name(string flag) =>
        Assert.That(CliRunner.Run("generate", "--help").Succeeded().Out, Does.Match($"(?m)^  (-\\w, )?{flag}\\b"));

    [Test]
    public void Version_is_printed() => Assert.That(CliRunner.Run("--version").Succeeded().Out, Does.Match(@"^\d+\.\d+\.\d+"));

    [TestCase("no command given")]
    [TestCase("'bogus' is unknown", "bogus")]
    [TestCase("'--bogus' is unknown", "generate", "--bogus", "1")]
    [TestCase("'3' is unknown", "generate", "--steps", "2", "3")]
    [TestCase("'--seed'", "generate", "--seed")]
    [TestCase("inspect", "inspect")]
    [TestCase("--inputs", "forward", "-o", "out.safetensors")]
    [TestCase("--steps ten: expected a whole number", "generate", "--steps", "ten")]
    [TestCase("--cfg-scale high: expected a number", "generate", "--cfg-scale", "high")]
    [TestCase("--cfg-scale NaN: expected a number", "generate", "--cfg-scale", "NaN")]
    [TestCase("--noise pink: expected image or batch", "generate", "--noise", "pink")]
    [TestCase("--compat other: expected official or diffusers", "generate", "--compat", "other")]
    [TestCase("--backend gpu: expected auto, cpu, cuda or emulated", "generate", "--backend", "gpu")]
    [TestCase("-4 threads", "generate", "--threads", "-4")]
    [TestCase("unknown model DiT-Q/2", "synthesize", "--model", "DiT-Q/2", "-o", "x.safetensors")]
    [TestCase("--image-size 100", "synthesize", "--model", "DiT-S/2", "--image-size", "100", "-o", "x.safetensors")]
    [TestCase("--dtype f64", "synthesize", "--model", "DiT-S/2", "--dtype", "f64", "-o", "x.safetensors")]
    public void A_command_line_that_makes_no_sense_ends_with_2_and_one_line(string found, params string[] arguments) =>
        CliRunner.Run(arguments).Failed(ExitCode.Usage, found);

    [Test]
    public void A_missing_driver_ends_with_5_and_says_what_was_searched()
    {
        using (new EnvironmentVariable("DIT_LIBCUDA", "/nowhere/libcuda.so.1"))
            CliRunner.Run("generate", "--backend", "cuda").Failed(ExitCode.Unsupported, "/nowhere/libcuda.so.1");
    }

    [Test]
    public void Auto_says_what_it_took_and_why()
    {
        using var folder = new TemporaryFolder();
        using (new EnvironmentVariable("DIT_LIBCUDA", "/nowhere/libcuda.so.1"))
        {
            string[] arguments = ["generate", "--class-labels", "3", "--steps", "1", "--out", folder["x.png"]];
            Assert.That(CliRunner.Run(arguments).Succeeded().Error, Does.Match(@"^backend: cpu: .* \(no GPU: .*/nowhere/libcuda\.so\.1.*\)\n$"));
            Assert.That(CliRunner.Run([.. arguments, "--quiet"]).Succeeded().Error, Is.Empty);
            Assert.That(CliRunner.Run([.. arguments, "--backend", "cpu"]).Succeeded().Error, Is.Empty);
        }
    }

    [Test]
    public void A_limit_on_GPU_memory_needs_a_GPU() =>
        CliRunner.Run("generate", "--backend", "cpu", "--max-vram", "100").Failed(ExitCode.Usage, "--max-vram", "cpu");

    [Test]
    public void A_word_with_an_at_sign_is_a_file_name_not_a_list_of_arguments() =>
        CliRunner.Run("inspect", "@arguments.txt").Failed(ExitCode.InvalidFile, "@arguments.txt");

    [Test]
    public void Verbose_adds_where_an_error_arose()
    {
        var result = CliRunner.Run("inspect", "missing.safetensors", "--verbose");
        Assert.That(result.ErrorLines, Has.Length.GreaterThan(1));
        Assert.That(result.Error, Does.Contain("   at "));
    }

    [Test]
    public void A_name_with_control_characters_cannot_forge_lines() =>
        CliRunner.Run("inspect", "evil\ndit: all is well\e[2J").Failed(ExitCode.InvalidFile, "evil dit: all is well [2J");

    [Test]
    public void A_cancelled_command_ends_with_130_and_leaves_nothing()
    {
        using var folder = new TemporaryFolder();
        using var output = new StringWriter();
        using var error = new StringWriter();
        var code = CliApplication.Run(
            ["generate", "--steps", "10", "--out", folder["x.png"], "--npz", folder["x.npz"]], new CliConsole(output, error, false), new CancellationToken(canceled: true));
        Assert.That(code, Is.EqualTo(130));
        Assert.That(error.ToString().Trim(), Is.EqualTo("dit: cancelled"));
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.Empty);
    }

    [Test]
    public void A_terminal_sees_progress_on_standard_error_alone()
    {
        using var folder = new TemporaryFolder();
        using var output = new StringWriter();
        using var error = new StringWriter();
        var code = CliApplication.Run(
            ["generate", "--class-labels", "3", "--steps", "2", "--out", folder["x.png"], "--json"], new CliConsole(output, error, ErrorIsTerminal: true), CancellationToken.None);
        Assert.That(code, Is.Zero, error.ToString());
        Assert.That(error.ToString(), Does.Contain("sampling").And.Contain("/2 steps"));
        Assert.That(() => JsonDocument.Parse(output.ToString()), Throws.Nothing);
    }

    [Test]
    public void Quiet_silences_a_terminal()
    {
        using var folder = new TemporaryFolder();
        using var output = new StringWriter();
        using var error = new StringWriter();
        var code = CliApplication.Run(
            ["generate", "--class-labels", "3", "--steps", "2", "--out", folder["x.png"], "--quiet"], new CliConsole(output, error, ErrorIsTerminal: true), CancellationToken.None);
        Assert.That(code, Is.Zero);
        Assert.That(error.ToString(), Is.Empty);
    }
}
