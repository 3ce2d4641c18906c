using System.Security.Cryptography;
using System.Text.Json;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Cli;
using DiTRuntime.Tests.Cuda;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Exporter;

[TestFixture]
internal sealed class ExportCommandTests
{
    private static string Tiny => TestFiles.Golden("tiny/official.safetensors");

    [Test]
    public void Folder_holds_everything_and_its_hashes()
    {
        using var folder = new TestFolder();
        var json = JsonDocument.Parse(Export(folder["out"], "--json").Succeeded().Out).RootElement;
        var files = json.GetProperty("files").EnumerateArray().Select(file => file.GetProperty("file").GetString()!).ToArray();
        Assert.That(files, Is.SupersetOf(new[] { "weights.dit", "golden.dit", "dit.h", "dit.c", "main.c", "CMakeLists.txt", "README.md", "LICENSE", "NOTICE", "config.json", "memory.json", "SHA256SUMS" }));
        var sums = File.ReadAllLines(folder["out/SHA256SUMS"]).Select(line => line.Split("  ")).ToDictionary(parts => parts[1], parts => parts[0]);
        Assert.That(sums.Keys, Is.EquivalentTo(files.Where(file => file != "SHA256SUMS")));
        foreach (var (name, sum) in sums) Assert.That(Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(folder["out/" + name]))), Is.EqualTo(sum), name);
        Assert.That(File.ReadAllText(folder["out/README.md"]), Does.Not.Match("@[A-Z_]+@"));
        Assert.That(Directory.GetFileSystemEntries(folder.Root), Has.Length.EqualTo(1), "nothing unfinished is left");
    }

    [Test]
    public void Exported_sources_compile_and_verify_the_golden_vectors()
    {
        using var folder = new TestFolder();
        Export(folder["out"]).Succeeded();
        HostC.Compile(folder["out/dit.c"], folder["dit.o"], "-c", "-ffp-contract=off");
        HostC.Compile(folder["out/main.c"], folder["dit"], folder["dit.o"], "-pthread", "-Wl,--no-as-needed", "-lm");
        var (code, text) = HostC.Run(folder["dit"], "verify", folder["out"], "--threads", "2");
        Assert.That(code, Is.Zero, text);
    }

    [Test]
    public void Planned_memory_is_what_the_runtime_allocates()
    {
        using var folder = new TestFolder();
        Export(folder["out"], "--threads", "3").Succeeded();
        HostC.Compile(folder["out/dit.c"], folder["dit.o"], "-c", "-ffp-contract=off");
        HostC.Compile(folder["out/main.c"], folder["dit"], folder["dit.o"], "-pthread", "-Wl,--no-as-needed", "-lm");
        var (code, text) = HostC.Run(folder["dit"], "info", folder["out"], "--threads", "3", "--json");
        Assert.That(code, Is.Zero, text);
        using var planned = JsonDocument.Parse(File.ReadAllText(folder["out/memory.json"]));
        using var found = JsonDocument.Parse(text);
        var parts = found.RootElement.GetProperty("memory").EnumerateArray().ToArray();
        foreach (var (part, i) in planned.RootElement.GetProperty("memory").EnumerateArray().Select((part, i) => (part, i)))
        {
            var name = part.GetProperty("part").GetString();
            Assert.That(parts[i].GetProperty("part").GetString(), Is.EqualTo(name));
            // Scratch is planned for the widest instructions, which this machine may not have; structs differ by a few bytes.
            if (name == "scratch of the threads") Assert.That(parts[i].GetProperty("bytes").GetInt64(), Is.LessThanOrEqualTo(part.GetProperty("bytes").GetInt64() + 1024), name);
            else Assert.That(parts[i].GetProperty("bytes").GetInt64(), Is.EqualTo(part.GetProperty("bytes").GetInt64()).Within(1024), name);
        }
    }

    [Test]
    public void Folder_that_holds_something_is_refused()
    {
        using var folder = new TestFolder();
        folder.Write("out/mine.txt", "precious");
        Export(folder["out"]).Failed(ExitCode.Usage, "holds something", "--force");
        Export(folder["out"], "--force").Failed(ExitCode.Usage, "no export");
        Assert.That(Directory.GetFiles(folder["out"]), Is.EqualTo(new[] { folder["out/mine.txt"] }));
    }

    [Test]
    public void Force_replaces_an_earlier_export_as_a_whole()
    {
        using var folder = new TestFolder();
        folder.Write("out/weights.dit", "old");
        folder.Write("out/left.over", "old");
        Export(folder["out"]).Failed(ExitCode.Usage);
        Export(folder["out"], "--force").Succeeded();
        Assert.That(File.Exists(folder["out/left.over"]), Is.False);
        Assert.That(Directory.GetFileSystemEntries(folder.Root), Has.Length.EqualTo(1));
    }

    [TestCase(ExitCode.Usage, "--batch 0", "--batch", "0")]
    [TestCase(ExitCode.Usage, "--batch 1000000", "--batch", "1000000")]
    [TestCase(ExitCode.Usage, "--steps 1001", "--steps", "1001")]
    [TestCase(ExitCode.Usage, "--spacing 10,15", "--spacing", "10,15")]
    [TestCase(ExitCode.Usage, "--sampler euler", "--sampler", "euler")]
    [TestCase(ExitCode.Usage, "--cfg-scale -1", "--cfg-scale", "-1")]
    [TestCase(ExitCode.Usage, "--target metal", "--target", "metal")]
    [TestCase(ExitCode.Usage, "--max-memory lots", "--max-memory", "lots")]
    [TestCase(ExitCode.Usage, "-vae", "--vae-", "x")]
    [TestCase(ExitCode.InvalidFile, "no-such.safetensors", "--vae", "/no-such.safetensors")]
    [TestCase(ExitCode.OutOfMemory, "--max-memory 0.01MB", "--max-memory", "10kB")]
    public void What_cannot_be_is_refused_before_anything_is_written(ExitCode code, string word, params string[] arguments)
    {
        using var folder = new TestFolder();
        Export(folder["out"], arguments).Failed(code, word);
        Assert.That(Directory.EnumerateFileSystemEntries(folder.Root), Is.Empty);
    }

    [Test]
    public void Damaged_model_leaves_nothing()
    {
        using var folder = new TestFolder();
        var bytes = File.ReadAllBytes(TestFiles.DigitModel);
        folder.Write("cut.safetensors", bytes[..^1000]);
        CliRunner.Run("export", "--model", folder["cut.safetensors"], "--out", folder["out"]).Failed(ExitCode.InvalidFile, "cut.safetensors");
        Assert.That(Directory.Exists(folder["out"]), Is.False);
    }

    [Test]
    public void Limit_on_memory_makes_the_modulation_table_smaller()
    {
        using var folder = new TestFolder();
        var free = Memory(folder["free"]);
        var limit = free.GetProperty("memory_bytes").GetInt64() - 1;
        var fitted = Memory(folder["fitted"], "--max-memory", $"{limit}B");
        Assert.That(fitted.GetProperty("memory_bytes").GetInt64(), Is.LessThanOrEqualTo(limit));
        Assert.That(fitted.GetProperty("table_rows").GetInt32(), Is.LessThan(free.GetProperty("table_rows").GetInt32()));
        Assert.That(new ExportedFile(folder["fitted/weights.dit"]).Header.TableRows, Is.EqualTo(fitted.GetProperty("table_rows").GetUInt32()));
    }

    [Test]
    public void Packed_model_carries_its_method()
    {
        using var folder = new TestFolder();
        var packed = PackedFiles.Write(folder["p.safetensors"], new GroupFormat(4, 16), ActivationMode.Dynamic);
        CliRunner.Run("export", "--model", packed, "--vae", TestFiles.Golden("vae"), "--steps", "2", "--out", folder["out"]).Succeeded();
        using var method = JsonDocument.Parse(File.ReadAllText(folder["out/method.json"]));
        Assert.That(method.RootElement.GetProperty("method").GetString(), Is.EqualTo("rtn"));
    }

    private static JsonElement Memory(string output, params string[] arguments) =>
        JsonDocument.Parse(Export(output, [.. arguments, "--json"]).Succeeded().Out).RootElement.GetProperty("memory");

    /// <summary>Exports the golden DiT, whose decoder is the golden autoencoder.</summary>
    private static CliResult Export(string output, params string[] arguments)
    {
        string[] model = ["export", "--model", Tiny, "--heads", "2", "--out", output];
        if (!arguments.Contains("--vae")) model = [.. model, "--vae", TestFiles.Golden("vae")];
        if (!arguments.Contains("--steps")) model = [.. model, "--steps", "4"];
        return CliRunner.Run([.. model, .. arguments]);
    }
}
