using System.Diagnostics;
using System.Text.Json;
using DiTRuntime.Cli.Sharding;
using DiTRuntime.Imaging;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Cli;

/// <summary>Large runs in parts: what <c>dit generate --shard --npz</c> keeps, goes on with and refuses, and what <c>dit merge</c> makes of it.</summary>
public sealed class ShardedRunTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void Parts_merge_into_the_file_of_the_whole_run_byte_for_byte()
    {
        Run("--count", "7", "--npz", _folder["whole.npz"]).Succeeded();
        for (var k = 0; k < 3; k++) Part($"{k}+1/3", $"p{k}.npz", "--count", "7").Succeeded();
        Assert.That(Merge(_folder["p*.npz"]).Succeeded().OutLines, Is.EqualTo(new[] { _folder["all.npz"] }));
        AssertSameFile("all.npz", "whole.npz");
        Assert.That(Directory.GetFiles(_folder.Path).Select(Path.GetFileName), Is.EquivalentTo(new[] { "whole.npz", "all.npz", "p0.npz", "p1.npz", "p2.npz" }));
    }

    [Test]
    public void Parts_of_several_divisions_merge_where_they_cover_the_run_once()
    {
        Run("--count", "6", "--npz", _folder["whole.npz"]).Succeeded();
        Part("2/4", "b.npz", "--count", "6").Succeeded();
        Part("1/2", "c.npz", "--count", "6").Succeeded();
        Part("4/4", "a.npz", "--count", "6").Succeeded();
        Merge(_folder["c.npz"], _folder["b.npz"], _folder["a.npz"]).Succeeded();
        AssertSameFile("all.npz", "whole.npz");
    }

    [Test]
    public void A_folder_is_merged_into_a_file_in_it_again_and_again()
    {
        Part("1/2", "a.npz").Succeeded();
        Part("2/2", "b.npz").Succeeded();
        Merge(_folder.Path).Succeeded();
        var first = File.ReadAllBytes(_folder["all.npz"]);
        var json = JsonDocument.Parse(Merge(_folder.Path, "--json").Succeeded().Out).RootElement;
        Assert.That(File.ReadAllBytes(_folder["all.npz"]), Is.EqualTo(first));
        Assert.That(json.GetProperty("count").GetInt32(), Is.EqualTo(4));
        Assert.That(json.GetProperty("parts").GetArrayLength(), Is.EqualTo(2));
        Assert.That(json.GetProperty("run").GetProperty("Steps").GetString(), Is.EqualTo("2"));
    }

    [Test]
    public void A_finished_shard_is_left_as_it_is_and_says_so()
    {
        Part("2/2", "b.npz").Succeeded();
        var (bytes, time) = (File.ReadAllBytes(_folder["b.npz"]), File.GetLastWriteTimeUtc(_folder["b.npz"]));
        var again = Part("2/2", "b.npz").Succeeded();
        Assert.That(again.Error, Does.Contain("nothing to do, all 2 images are there"));
        Assert.That(again.OutLines, Is.EqualTo(new[] { _folder["b.npz"] }));
        Assert.That((File.ReadAllBytes(_folder["b.npz"]), File.GetLastWriteTimeUtc(_folder["b.npz"])), Is.EqualTo((bytes, time)));
    }

    [Test]
    public void A_shard_that_was_killed_goes_on_where_it_was()
    {
        if (OperatingSystem.IsWindows()) Assert.Ignore("signals are sent with kill");
        string[] run = ["--count", "120", "--batch", "1", "--steps", "8"];
        var log = _folder["a.npz.progress"];
        using (var process = CliRunner.Start("dotnet", [CliRunner.Program, .. Arguments(["--shard", "1/2", "--npz", _folder["a.npz"], .. run])]))
        {
            // Its head takes less than two images.
            var patience = Stopwatch.StartNew();
            while (!File.Exists(log) || new FileInfo(log).Length < 6 * 32 * 32 * 3)
            {
                if (process.HasExited || patience.Elapsed > TimeSpan.FromSeconds(50)) Assert.Fail($"the run did not begin: {CliRunner.Finish(process).Error}");
                Thread.Sleep(5);
            }

            process.Kill();
            process.WaitForExit();
        }

        Assert.That(File.Exists(_folder["a.npz"]), Is.False);
        var json = JsonDocument.Parse(Part("1/2", "a.npz", [.. run, "--json"]).Succeeded().Out).RootElement;
        Assert.That(json.GetProperty("made").GetInt32(), Is.InRange(1, 56));
        Part("1/2", "b.npz", run).Succeeded();
        AssertSameFile("a.npz", "b.npz");
        Assert.That(File.Exists(log), Is.False);
    }

    [Test]
    public void Whatever_is_left_of_a_log_the_part_comes_out_the_same()
    {
        var (log, part) = (_folder["a.npz.progress"], _folder["a.npz"]);
        Part("1/2", "b.npz", "--count", "6").Succeeded();
        var whole = Log("--count", "6");
        var random = new Random(3);
        // Every head of it that a crash could leave, at least those around an image, and damage within.
        const int record = 20 + 32 * 32 * 3;
        int[] lengths = [0, 1, 40, whole.Length - 3 * record, whole.Length - 2 * record - 1, whole.Length - record, whole.Length - 1, whole.Length];
        foreach (var length in lengths)
        {
            File.WriteAllBytes(log, whole[..length]);
            Part("1/2", "a.npz", "--count", "6").Succeeded();
            AssertSameFile("a.npz", "b.npz");
            File.Delete(part);
        }

        for (var i = 0; i < 6; i++)
        {
            var damaged = whole.ToArray();
            damaged[random.Next(whole.Length - 3 * record, whole.Length)] ^= 4;
            File.WriteAllBytes(log, damaged);
            var made = JsonDocument.Parse(Part("1/2", "a.npz", "--count", "6", "--json").Succeeded().Out).RootElement.GetProperty("made").GetInt32();
            Assert.That(made, Is.InRange(1, 3));
            AssertSameFile("a.npz", "b.npz");
            File.Delete(part);
        }
    }

    [TestCase("Steps 3 in the place of 2", "--steps", "3")]
    [TestCase("Sampler ddpm", "--sampler", "ddpm")]
    [TestCase("CFG scale 3", "--cfg-scale", "3")]
    [TestCase("First seed 5", "--seed", "5")]
    [TestCase("Classes 4 in the place of", "--class-labels", "4")]
    [TestCase("Images 5", "--count", "5")]
    [TestCase("Eta 0.5", "--eta", "0.5")]
    [TestCase("Compat diffusers", "--compat", "diffusers")]
    [TestCase("shard 2/2", "--shard", "2/2")]
    public void What_another_run_has_made_is_refused_by_name(string difference, params string[] other)
    {
        string[] shard = other.Contains("--shard") ? [] : ["--shard", "1/2"];
        Run([.. shard, "--npz", _folder["a.npz"], .. other]).Succeeded();
        Part("1/2", "a.npz").Failed(ExitCode.Usage, _folder["a.npz"], difference);
        File.Delete(_folder["a.npz"]);
        File.WriteAllBytes(_folder["a.npz.progress"], Log(other));
        Part("1/2", "a.npz").Failed(ExitCode.Usage, _folder["a.npz.progress"], difference);
    }

    [Test]
    public void Files_that_are_no_parts_are_not_overwritten()
    {
        Run("--npz", _folder["whole.npz"]).Succeeded();
        Part("1/2", "whole.npz").Failed(ExitCode.InvalidFile, _folder["whole.npz"], "not a part");
        File.WriteAllText(_folder["a.npz"], "notes");
        Part("1/2", "a.npz").Failed(ExitCode.InvalidFile, _folder["a.npz"]);
        File.WriteAllText(_folder["b.npz.progress"], new string('x', 4000));
        Part("1/2", "b.npz").Failed(ExitCode.Usage, _folder["b.npz.progress"], "no run that can be recognised");
    }

    [Test]
    public void Two_processes_do_not_make_the_same_part()
    {
        using (new FileStream(_folder["a.npz.progress"], FileMode.Create, FileAccess.ReadWrite, FileShare.None))
            Part("1/2", "a.npz").Failed(ExitCode.Usage, "another process");
        Part("1/2", "a.npz").Succeeded();
    }

    [Test]
    public void Images_in_a_folder_are_kept_where_they_are_of_the_same_run()
    {
        string[] run = ["--shard", "1/2", "--count", "8", "--out", _folder["x/"]];
        Run(run).Succeeded();
        var kept = File.GetLastWriteTimeUtc(_folder["x/000000.png"]);
        var expected = File.ReadAllBytes(_folder["x/000004.png"]);
        File.Delete(_folder["x/000002.png"]);
        File.WriteAllBytes(_folder["x/000004.png"], expected[..^30]);
        // The same text as another seed's image: another run's.
        Run("--count", "8", "--seed", "90", "--out", _folder["y/"]).Succeeded();
        File.Copy(_folder["y/000006.png"], _folder["x/000006.png"], overwrite: true);

        var again = Run([.. run, "--json"]).Succeeded();
        Assert.That(JsonDocument.Parse(again.Out).RootElement.GetProperty("made").GetInt32(), Is.EqualTo(3));
        Assert.That(again.Error, Does.Contain("1 of 4 images were there, 3 are new"));
        Assert.That(File.ReadAllBytes(_folder["x/000004.png"]), Is.EqualTo(expected));
        Assert.That(File.GetLastWriteTimeUtc(_folder["x/000000.png"]), Is.EqualTo(kept));
        Run("--count", "8", "--out", _folder["z/"]).Succeeded();
        foreach (var name in new[] { "000000.png", "000002.png", "000004.png", "000006.png" }) AssertSameFile($"x/{name}", $"z/{name}");
    }

    [Test]
    public void A_missing_image_of_a_finished_part_is_made_again()
    {
        string[] run = ["--shard", "1/2", "--count", "6", "--npz", _folder["a.npz"], "--out", _folder["x/"]];
        Run(run).Succeeded();
        var (part, image) = (File.ReadAllBytes(_folder["a.npz"]), File.ReadAllBytes(_folder["x/000002.png"]));
        File.Delete(_folder["x/000002.png"]);
        Run(run).Succeeded();
        Assert.That(File.ReadAllBytes(_folder["x/000002.png"]), Is.EqualTo(image));
        Assert.That(File.ReadAllBytes(_folder["a.npz"]), Is.EqualTo(part));
    }

    [Test]
    public void Without_shard_everything_is_made_anew()
    {
        Run("--out", _folder["x/"]).Succeeded();
        Assert.That(JsonDocument.Parse(Run("--out", _folder["x/"], "--json").Succeeded().Out).RootElement.GetProperty("made").GetInt32(), Is.EqualTo(4));
    }

    /// <summary>The log as it is when the last image is there and the part is not yet written.</summary>
    private byte[] Log(params string[] run)
    {
        var name = $"log{Directory.GetFileSystemEntries(_folder.Path).Length}.npz";
        string[] shard = run.Contains("--shard") ? [] : ["--shard", "1/2"];
        Run([.. shard, "--npz", _folder[name], .. run]).Succeeded();
        using var part = PartFile.Open(_folder[name]);
        using (var log = PartLog.Open(_folder[name + ".log"], part.Description with { Digest = null }, part.Indices, part.Width))
        {
            var image = new Image(part.Width, part.Height, 3, new byte[part.Width * part.Height * 3]);
            foreach (var _ in part.Indices)
            {
                part.Read(image.Pixels);
                log.Append(image);
            }
        }

        return File.ReadAllBytes(_folder[name + ".log"]);
    }

    private static string[] Arguments(params string[] arguments)
    {
        string[] steps = arguments.Contains("--steps") ? [] : ["--steps", "2"], count = arguments.Contains("--count") ? [] : ["--count", "4"];
        string[] scale = arguments.Contains("--cfg-scale") ? [] : ["--cfg-scale", "1"], labels = arguments.Contains("--class-labels") ? [] : ["--class-labels", "3,7,1"];
        return ["generate", "--backend", "cpu", .. steps, .. count, .. scale, .. labels, .. arguments];
    }

    private static CliResult Run(params string[] arguments) => CliRunner.Run(Arguments(arguments));

    private CliResult Part(string shard, string name, params string[] arguments) => Run(["--shard", shard, "--npz", _folder[name], .. arguments]);

    private CliResult Merge(params string[] words) => CliRunner.Run(["merge", .. words, "-o", _folder["all.npz"]]);

    private void AssertSameFile(string first, string second) =>
        Assert.That(File.ReadAllBytes(_folder[first]).AsSpan().SequenceEqual(File.ReadAllBytes(_folder[second])), $"{first} and {second}");
}
