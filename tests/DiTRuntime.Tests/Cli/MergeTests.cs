using System.IO.Compression;
using System.Text;
using System.Text.RegularExpressions;
using DiTRuntime.Tests.Calibration.Evaluation;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Cli;

/// <summary>Parts that do not belong together, or are not what they claim: exit code 3, one line, nothing written.</summary>
public sealed class MergeTests
{
    private const int FuzzCount = 2000;
    private const long SpareBytes = 64 << 20;

    private TestFolder _folder = null!;

    [OneTimeSetUp]
    public void MakeParts()
    {
        _folder = new TestFolder();
        for (var i = 1; i <= 3; i++) Part($"{i}of3.npz", "--shard", $"{i}/3");
        Part("1of1.npz", "--shard", "1/1");
        Part("other.npz", "--shard", "2/3", "--seed", "6");
        Part("whole.npz");
    }

    [OneTimeTearDown]
    public void RemoveFolder() => _folder.Dispose();

    [TearDown]
    public void NothingIsLeft() => Assert.That(Directory.GetFiles(_folder.Root, "*.partial"), Is.Empty);

    [Test]
    public void A_missing_image_is_named_with_its_shard() => Refused(["1of3.npz", "3of3.npz"], "1of3.npz", "3 images", "1 of them", "image 1 (shard 2/3)");

    [Test]
    public void An_image_that_is_there_twice_is_named() => Refused(["1of3.npz", "2of3.npz", "3of3.npz", "1of1.npz"], "1of1.npz: image 0 is in ", "1of3.npz as well");

    [Test]
    public void A_part_of_another_run_is_named_with_the_difference() => Refused(["1of3.npz", "other.npz", "3of3.npz"], "other.npz", "1of3.npz: First seed 6 in the place of 5");

    [Test]
    public void A_file_given_twice() => Refused(["1of3.npz", "1of3.npz"], "1of3.npz", "given twice");

    [Test]
    public void A_sample_file_that_is_no_part() => Refused(["whole.npz"], "whole.npz", "not a part");

    [Test]
    public void A_file_that_is_missing() => Refused(["gone.npz"], "gone.npz", "no such file");

    [Test]
    public void A_pattern_that_names_nothing() => Refused(["gone*.npz"], "gone*.npz", "no .npz file");

    [Test]
    public void A_folder_that_is_missing() => Refused(["gone/x*.npz"], "gone/x*.npz", "cannot be listed");

    [Test]
    public void No_part_at_all_or_no_output_is_a_matter_of_usage()
    {
        CliRunner.Run("merge", "-o", _folder["all.npz"]).Failed(ExitCode.Usage, "argument");
        CliRunner.Run("merge", _folder["1of1.npz"]).Failed(ExitCode.Usage, "--out");
        CliRunner.Run("merge", _folder["1of1.npz"], "-o", Path.Combine(_folder.Root, "gone/all.npz")).Failed(ExitCode.Usage, "no such folder");
    }

    [Test]
    public void A_changed_pixel_is_noticed_and_nothing_is_written()
    {
        var bytes = File.ReadAllBytes(_folder["1of1.npz"]);
        bytes[1000] ^= 1;
        _folder.Write("flipped.npz", bytes);
        _folder.Write("all.npz", "what was there");
        Refused(["flipped.npz"], "flipped.npz", "arr_0 is damaged", "check sum");
        Assert.That(File.ReadAllText(_folder["all.npz"]), Is.EqualTo("what was there"));
    }

    [Test]
    public void A_truncated_part()
    {
        _folder.Write("cut.npz", File.ReadAllBytes(_folder["1of1.npz"])[..^50]);
        Refused(["cut.npz"], "cut.npz", "damaged");
    }

    [TestCase("indices", "[0,1,1]", "indices holds 1")]
    [TestCase("indices", "[0,1,3]", "indices holds 3", "0 to 2")]
    [TestCase("indices", "[2,1,0]", "indices holds 1")]
    [TestCase("indices", "[0,1]", "arr_0 is U8 [3,32,32,3]", "[2,height,width,3]")]
    [TestCase("indices", "[0,1,2,2]", "indices is I64 [4]")]
    public void Indices_that_cannot_be(string _, string indices, params string[] words)
    {
        var values = indices.Trim('[', ']').Split(',').Select(long.Parse).ToArray();
        Forge(indices: NpzFiles.Npy("<i8", $"({values.Length},)", [.. values.SelectMany(BitConverter.GetBytes)]));
        Refused(["forged.npz"], ["forged.npz", .. words]);
    }

    [TestCase("\"format\":\"ditruntime.part 2\"", "not a part")]
    [TestCase("\"format\":7", "not a part")]
    [TestCase("\"run\":[]", "names no run")]
    [TestCase("\"run\":{\"Images\":\"3\",\"Steps\":4}", "description of the run is damaged")]
    [TestCase("\"run\":{\"Images\":\"0\"}", "1 to 10000000")]
    [TestCase("\"run\":{\"Images\":\"3\"}", "its description says")]
    [TestCase("\"shard\":\"4/3\"", "its description is damaged")]
    [TestCase("\"sha256\":null", "arr_0 is damaged")]
    public void Descriptions_that_cannot_be(string member, string word)
    {
        var name = member[..(member.IndexOf(':') + 1)];
        var json = Regex.Replace(Description(), Regex.Escape(name) + """("[^"]*"|\{[^}]*\})""", member.Replace("$", "$$"));
        Forge(description: Encoding.UTF8.GetBytes(json));
        Refused(["forged.npz"], "forged.npz", word);
    }

    [Test]
    public void A_size_that_is_made_up_takes_no_memory()
    {
        Forge(images: NpzFiles.Npy("|u1", "(3, 16384, 16384, 3)", []), description: Encoding.UTF8.GetBytes(Description().Replace("32x32", "16384x16384")));
        Refused(["forged.npz"], "forged.npz", "takes 2415919104");
    }

    [Test]
    public void Compressed_images_are_refused()
    {
        Forge(images: NpzFiles.Npy("|u1", "(3, 512, 512, 3)", new byte[3 * 512 * 512 * 3]), description: Encoding.UTF8.GetBytes(Description().Replace("32x32", "512x512")), level: CompressionLevel.Optimal);
        Refused(["forged.npz"], "forged.npz", "compressed");
    }

    [Test]
    public void Damaged_parts_are_refused_or_come_out_right()
    {
        var original = File.ReadAllBytes(_folder["1of1.npz"]);
        var expected = File.ReadAllBytes(_folder["whole.npz"]);
        var output = _folder["fuzz.npz"];
        var refused = 0;
        for (var seed = 0; seed < FuzzCount; seed++)
        {
            _folder.Write("mutated.npz", new Mutation(seed).Apply(original));
            var before = GC.GetAllocatedBytesForCurrentThread();
            var result = CliRunner.Run("merge", _folder["mutated.npz"], "-o", output);
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(original.Length + SpareBytes), $"mutation {seed}");
            if (result.Code == 0)
            {
                Assert.That(File.ReadAllBytes(output).AsSpan().SequenceEqual(expected), $"mutation {seed}");
                File.Delete(output);
                continue;
            }

            result.Failed(ExitCode.InvalidFile, "mutated.npz");
            Assert.That(File.Exists(output), Is.False, $"mutation {seed}");
            refused++;
        }

        Assert.That(refused, Is.InRange(FuzzCount / 2, FuzzCount - 1));
    }

    private void Refused(string[] parts, params string[] words) => CliRunner.Run(["merge", .. parts.Select(part => Path.Combine(_folder.Root, part)), "-o", _folder["all.npz"]]).Failed(ExitCode.InvalidFile, words);

    private void Part(string name, params string[] arguments)
    {
        string[] seed = arguments.Contains("--seed") ? [] : ["--seed", "5"];
        CliRunner.Run(["generate", "--backend", "cpu", "--steps", "1", "--cfg-scale", "1", "--class-labels", "3,7,1", "--npz", _folder[name], .. seed, .. arguments]).Succeeded();
    }

    private string Description()
    {
        using var archive = ZipFile.OpenRead(_folder["1of1.npz"]);
        using var reader = new StreamReader(archive.GetEntry("part.json")!.Open());
        return reader.ReadToEnd();
    }

    /// <summary>The whole run's part with members in the place of its own.</summary>
    private void Forge(byte[]? images = null, byte[]? indices = null, byte[]? description = null, CompressionLevel level = CompressionLevel.NoCompression)
    {
        using var source = ZipFile.OpenRead(_folder["1of1.npz"]);
        using var stream = File.Create(_folder["forged.npz"]);
        using var target = new ZipArchive(stream, ZipArchiveMode.Create);
        foreach (var entry in source.Entries)
        {
            using var output = target.CreateEntry(entry.FullName, level).Open();
            var content = entry.FullName switch { "arr_0.npy" => images, "indices.npy" => indices, _ => description };
            using var own = entry.Open();
            if (content is null) own.CopyTo(output);
            else output.Write(content);
        }
    }
}
