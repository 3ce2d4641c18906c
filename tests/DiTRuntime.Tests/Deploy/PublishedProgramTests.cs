using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using DiTRuntime.Tests.Cli;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Deploy;

/// <summary>The trimmed program does what the untrimmed one does, in an image with nothing beside it.</summary>
[NonParallelizable]
[Category(TestFiles.Slow)]
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
    public void It_says_its_version() => Assert.That(_program.Run("--version").Succeeded().Out, Does.Match($@"^{Regex.Escape(ProductVersion.Text)}\b"));

    [Test]
    public void Its_images_are_those_of_the_untrimmed_program()
    {
        _program.Run("generate", "--backend", "cpu", "--class-labels", "3,8", "--steps", "4", "--out", "/tmp/x/", "--npz", "/tmp/x.npz", "--json").Succeeded();
        using var folder = new TemporaryFolder();
        CliRunner.Run("generate", "--backend", "cpu", "--class-labels", "3,8", "--steps", "4", "--out", folder["x/"], "--npz", folder["x.npz"]).Succeeded();
        foreach (var name in new[] { "x/000000.png", "x/000001.png", "x.npz" })
            Assert.That(File.ReadAllBytes(Path.Combine(_program.Writable, name)).AsSpan().SequenceEqual(File.ReadAllBytes(folder[name])), name);
    }

    [Test]
    public void It_writes_nowhere_but_where_it_may() =>
        _program.Run("generate", "--backend", "cpu", "--class-labels", "3", "--steps", "1", "--out", "/app/x.png").Failed(ExitCode.Usage, "/app/x.png: cannot be written");

    [Test]
    public void Shards_and_merge_work_in_it()
    {
        string[] run = ["generate", "--backend", "cpu", "--class-labels", "all", "--count", "4", "--steps", "1"];
        foreach (var shard in new[] { "0", "1" })
            _program.Run([.. run, "--shard", $"{shard}+1/2", "--npz", $"/tmp/part-{shard}.npz"]).Succeeded();
        _program.Run("merge", "/tmp/part-*.npz", "-o", "/tmp/all.npz", "--json").Succeeded();
    }

    [Test]
    public void It_inspects_and_quantizes_a_model()
    {
        _program.Run("inspect", "/app/models/digits.safetensors", "--json").Succeeded();
        _program.Run("quantize", "--model", "/app/models/digits.safetensors", "--method", "gptq", "--wbits", "4", "--abits", "8", "--group-size", "96", "--samples", "2", "-o", "/tmp/w4.safetensors", "--backend", "cpu").Succeeded();
        _program.Run("inspect", "/tmp/w4.safetensors").Succeeded();
    }

    [Test]
    public async Task It_serves_the_same_image_and_ends_when_it_is_told_to()
    {
        using var process = _program.Start("serve", "--backend", "cpu", "--port", "0", "--json");
        var json = string.Empty;
        while (!json.EndsWith('}') && await process.StandardOutput.ReadLineAsync() is { } line) json += line;
        if (json.Length == 0) Assert.Fail(CliRunner.Finish(process).Error);
        using var http = new HttpClient { BaseAddress = new Uri(JsonDocument.Parse(json).RootElement.GetProperty("url").GetString()!) };
        for (var patience = Stopwatch.StartNew(); !(await http.GetAsync("/readyz")).IsSuccessStatusCode;)
        {
            if (patience.Elapsed > TimeSpan.FromSeconds(30)) Assert.Fail(await http.GetStringAsync("/readyz"));
            await Task.Delay(20);
        }

        var served = await http.GetByteArrayAsync("/v1/images?class=6&seed=3&steps=3");
        using var folder = new TemporaryFolder();
        CliRunner.Run("generate", "--backend", "cpu", "--class-labels", "6", "--seed", "3", "--steps", "3", "--out", folder["x.png"]).Succeeded();
        Assert.That(served.AsSpan().SequenceEqual(File.ReadAllBytes(folder["x.png"])));
        foreach (var path in new[] { "/", "/metrics", "/openapi/v1.json", "/v1/models", "/v2" }) Assert.That((await http.GetAsync(path)).IsSuccessStatusCode, path);
        using (var kill = CliRunner.Start("kill", ["-TERM", $"{process.Id}"])) kill.WaitForExit();
        CliRunner.Finish(process).Succeeded();
    }
}
