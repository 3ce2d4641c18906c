using System.Diagnostics;
using System.Text.Json;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Cli;

/// <summary>The command as a process of its own: what only an operating system can show.</summary>
public sealed class ProcessTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void Data_goes_to_standard_output_and_nothing_to_standard_error()
    {
        var result = CliRunner.RunProcess("generate", "--class-labels", "3", "--steps", "2", "--out", _folder["x.png"], "--json", "--backend", "cpu").Succeeded();
        Assert.That(result.Error, Is.Empty);
        Assert.That(JsonDocument.Parse(result.Out).RootElement.GetProperty("files")[0].GetString(), Is.EqualTo(_folder["x.png"]));
    }

    [Test]
    public void A_wrong_flag_ends_with_2() => CliRunner.RunProcess("generate", "--steps", "-5", "--out", _folder["x.png"]).Failed(ExitCode.Usage, "--steps -5");

    [Test]
    public void A_wrong_file_ends_with_3() => CliRunner.RunProcess("inspect", _folder["missing.pt"]).Failed(ExitCode.InvalidFile, "missing.pt");

    [TestCase("INT")]
    [TestCase("TERM")]
    public void A_signal_ends_a_run_with_130_within_a_second_and_leaves_no_file(string signal)
    {
        SkipWithoutSignals();
        AssertInterrupted(signal, "generate", "--steps", "1000", "--sampler", "ddpm", "--count", "64", "--out", _folder["x.png"], "--npz", _folder["x.npz"]);
    }

    [Test]
    public void A_signal_ends_the_writing_of_a_large_file()
    {
        SkipWithoutSignals();
        AssertInterrupted("INT", "synthesize", "--model", "DiT-L/2", "-o", _folder["x.safetensors"]);
    }

    [Test]
    public void Work_that_does_not_notice_a_signal_is_ended_all_the_same()
    {
        SkipWithoutSignals();
        // Opening a pipe that nobody writes to blocks in the operating system.
        using (var make = CliRunner.Start("mkfifo", [_folder["pipe"]])) make.WaitForExit();
        using var process = CliRunner.Start("dotnet", [CliRunner.Program, "inspect", _folder["pipe"]]);
        Thread.Sleep(TimeSpan.FromSeconds(1.5));
        var clock = Stopwatch.StartNew();
        using (var kill = CliRunner.Start("kill", ["-INT", $"{process.Id}"])) kill.WaitForExit();
        var result = CliRunner.Finish(process);
        Assert.That(result.Code, Is.EqualTo(130), result.Error);
        // Sooner, and the signal has come before the program was ready for it.
        Assert.That(clock.Elapsed.TotalSeconds, Is.InRange(0.5, 1));
    }

    [Test]
    public void A_full_disk_is_told_and_leaves_nothing()
    {
        if (!OperatingSystem.IsLinux()) Assert.Ignore("needs a tmpfs");
        var disk = Directory.CreateDirectory(_folder["disk"]).FullName;
        var latents = Path.Combine(disk, "x.safetensors");
        // The mount lives in a namespace of its own and ends with the shell; what lies on the disk is listed before that.
        var script = $"mount -t tmpfs -o size=64k tmpfs '{disk}' || exit 77; dotnet '{CliRunner.Program}' \"$@\"; code=$?; ls -A '{disk}'; exit $code";
        using var process = CliRunner.Start("unshare",
        [
            "--mount", "--user", "--map-root-user", "sh", "-c", script, "sh",
            "generate", "--model", TestFiles.Golden("tiny/official.pt"), "--heads", "2", "--count", "200", "--steps", "1", "--latents-only", "--out", latents,
        ]);
        var result = CliRunner.Finish(process);
        if (result.Code is 77 || result.Error.Contains("unshare")) Assert.Ignore($"this machine lets nobody mount a small disk: {result.Error}");
        result.Failed(ExitCode.Usage, latents, "space");
    }

    private static void SkipWithoutSignals()
    {
        if (OperatingSystem.IsWindows()) Assert.Ignore("signals are sent with kill");
    }

    /// <summary>Starts a run, waits until it is at work (its unfinished file is there), and sends a signal.</summary>
    private void AssertInterrupted(string signal, params string[] arguments)
    {
        using var process = CliRunner.Start("dotnet", [CliRunner.Program, .. arguments]);
        var patience = Stopwatch.StartNew();
        while (Directory.GetFiles(_folder.Path, "*x.*.partial").Length == 0)
        {
            if (process.HasExited || patience.Elapsed > TimeSpan.FromSeconds(30)) Assert.Fail($"the run did not begin: {CliRunner.Finish(process).Error}");
            Thread.Sleep(10);
        }

        var clock = Stopwatch.StartNew();
        using (var kill = CliRunner.Start("kill", [$"-{signal}", $"{process.Id}"])) kill.WaitForExit();
        var result = CliRunner.Finish(process);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(result.Code, Is.EqualTo(130), result.Error);
            Assert.That(clock.Elapsed, Is.LessThan(TimeSpan.FromSeconds(1)));
            Assert.That(Directory.GetFiles(_folder.Path), Is.Empty);
            Assert.That(result.Out, Is.Empty);
        }
    }
}
