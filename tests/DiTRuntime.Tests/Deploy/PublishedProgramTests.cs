using DiTRuntime.Tests.Cli;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Deploy;

/// <summary>The trimmed program does what the untrimmed one does, in an image with nothing beside it.</summary>
[NonParallelizable]
public sealed class PublishedProgramTests
{
    private PublishedProgram _program = null!;

    [OneTimeSetUp]
    public void Publish()
    {
        if (!OperatingSystem.IsLinux()) Assert.Ignore("the image is a Linux one");
        _program = new PublishedProgram();
    }

    [OneTimeTearDown]
    public void Remove() => _program?.Dispose();

    [Test]
    public void It_is_small() => Assert.That(_program.ByteCount / 1e6, Is.LessThan(70), "megabytes");

    [Test]
    public void It_says_its_version()
    {
        var (code, text) = _program.Run("--version");
        Assert.That((code, text.Trim()), Is.EqualTo((0, CliRunner.Run("--version").Out.Trim())));
    }

    [Test]
    public void Its_images_are_those_of_the_untrimmed_program()
    {
        var (code, text) = _program.Run("generate", "--backend", "cpu", "--class-labels", "3,8", "--steps", "4", "--out", "/tmp/x/", "--npz", "/tmp/x.npz", "--json");
        Assert.That(code, Is.Zero, text);
        using var folder = new TemporaryFolder();
        CliRunner.Run("generate", "--backend", "cpu", "--class-labels", "3,8", "--steps", "4", "--out", folder["x/"], "--npz", folder["x.npz"]).Succeeded();
        foreach (var name in new[] { "x/000000.png", "x/000001.png", "x.npz" })
            Assert.That(File.ReadAllBytes(Path.Combine(_program.Writable, name)).AsSpan().SequenceEqual(File.ReadAllBytes(folder[name])), name);
    }

    [Test]
    public void It_writes_nowhere_but_where_it_may()
    {
        var (code, text) = _program.Run("generate", "--backend", "cpu", "--class-labels", "3", "--steps", "1", "--out", "/app/x.png");
        Assert.That(code, Is.EqualTo((int)ExitCode.Usage));
        Assert.That(text, Does.Match("^dit: /app/x.png: cannot be written[^\n]*\n$"));
    }

    [Test]
    public void Shards_and_merge_work_in_it()
    {
        string[] run = ["generate", "--backend", "cpu", "--class-labels", "all", "--count", "4", "--steps", "1"];
        foreach (var shard in new[] { "0", "1" })
        {
            var (code, text) = _program.Run([.. run, "--shard", $"{shard}+1/2", "--npz", $"/tmp/part-{shard}.npz"]);
            Assert.That(code, Is.Zero, text);
        }

        Assert.That(_program.Run("merge", "/tmp/part-*.npz", "-o", "/tmp/all.npz", "--json").Code, Is.Zero);
    }

    [Test]
    public void It_inspects_and_quantizes_a_model()
    {
        Assert.That(_program.Run("inspect", "/app/models/digits.safetensors", "--json").Code, Is.Zero);
        var (code, text) = _program.Run("quantize", "--model", "/app/models/digits.safetensors", "--method", "gptq", "--wbits", "4", "--abits", "8", "--group-size", "96", "--samples", "2", "-o", "/tmp/w4.safetensors", "--backend", "cpu");
        Assert.That(code, Is.Zero, text);
        Assert.That(_program.Run("inspect", "/tmp/w4.safetensors").Code, Is.Zero);
    }
}
