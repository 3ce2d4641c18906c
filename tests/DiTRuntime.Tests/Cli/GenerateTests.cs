using System.IO.Compression;
using System.Text.Json;
using DiTRuntime.Imaging;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Cli;

public sealed class GenerateTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void An_image_of_the_built_in_digits_carries_its_parameters()
    {
        var result = Digits("--class-labels", "7", "--seed", "5", "--eta", "0.5", "--out", _folder["seven.png"]).Succeeded();

        Assert.That(result.OutLines, Is.EqualTo(new[] { _folder["seven.png"] }));
        Assert.That(result.Error, Is.Empty);
        var parameters = GenerationParameters.TryParse(PngReader.ReadDescription(_folder["seven.png"]).Text["parameters"])!;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(parameters.Class, Is.EqualTo(7));
            Assert.That(parameters.Steps, Is.EqualTo(3));
            Assert.That(parameters.Sampler, Is.EqualTo("ddim"));
            Assert.That(parameters.Spacing, Is.EqualTo("linspace"));
            Assert.That(parameters.Eta, Is.EqualTo(0.5));
            Assert.That(parameters.CfgScale, Is.EqualTo(2));
            Assert.That(parameters.Seed, Is.EqualTo(5));
            Assert.That((parameters.Width, parameters.Height), Is.EqualTo((32, 32)));
            Assert.That(parameters.Model, Is.EqualTo("digits"));
            Assert.That(parameters.ModelHash, Does.Match("^[0-9a-f]{10}$"));
            Assert.That(parameters.Version, Does.Match(@"^\d+\.\d+\.\d+$"));
        }
    }

    [Test]
    public void The_batch_and_the_threads_change_no_bit()
    {
        Digits("--class-labels", "3,8", "--batch", "1", "--threads", "1", "--out", _folder["a/"]).Succeeded();
        Digits("--class-labels", "3,8", "--batch", "2", "--threads", "2", "--out", _folder["b/"]).Succeeded();
        foreach (var name in new[] { "000000.png", "000001.png" }) AssertSameFile($"a/{name}", $"b/{name}");
    }

    [Test]
    public void Shards_together_are_the_whole_run()
    {
        string[] run = ["--class-labels", "4,1,9", "--sampler", "ddpm", "--seed", "11"];
        Digits([.. run, "--out", _folder["whole/"]]).Succeeded();
        Digits([.. run, "--out", _folder["parts/"], "--shard", "1/2"]).Succeeded();
        Digits([.. run, "--out", _folder["parts/"], "--shard", "2/2"]).Succeeded();
        Assert.That(Names("parts"), Is.EqualTo(new[] { "000000.png", "000001.png", "000002.png" }));
        foreach (var name in Names("whole")) AssertSameFile($"whole/{name}", $"parts/{name}");
    }

    [Test]
    public void Saved_latents_repeat_a_run()
    {
        Digits("--class-labels", "2,6", "--out", _folder["a/"], "--save-latents", _folder["l.safetensors"]).Succeeded();
        Digits("--class-labels", "2,6", "--seed", "99", "--latents", _folder["l.safetensors"], "--latents-only", "--out", _folder["m.safetensors"]).Succeeded();
        var (saved, repeated) = (GoldenTensors.Load(_folder["l.safetensors"]), GoldenTensors.Load(_folder["m.safetensors"]));
        Assert.That(saved.Shape("latents"), Is.EqualTo(new[] { 2, 1, 32, 32 }));
        Assert.That(repeated.F32("latents"), Is.EqualTo(saved.F32("latents")));
        Assert.That(repeated.F32("noise"), Is.EqualTo(saved.F32("noise")).And.Not.EqualTo(saved.F32("latents")));
        Assert.That(Names("."), Does.Not.Contain("output.png"));
    }

    [Test]
    public void Given_latents_start_the_published_trajectory()
    {
        var golden = GoldenTensors.Load(TestFiles.Golden("tiny/expected.safetensors"));
        RawSafetensors.Empty().Add("latents", [2, 4, 8, 8], golden.F32("cfg.z")).Save(_folder["z.safetensors"]);
        var scale = golden.F32("cfg.scale")[0].ToString(System.Globalization.CultureInfo.InvariantCulture);
        var labels = string.Join(',', golden.I64("cfg.labels"));
        CliRunner.Run(
            "generate", "--model", TestFiles.Golden("tiny/official.pt"), "--heads", "2", "--latents", _folder["z.safetensors"], "--class-labels", labels, "--cfg-scale", scale,
            "--steps", "10", "--latents-only", "--out", _folder["out.safetensors"]).Succeeded();
        var expected = golden.F32("ddim10.trajectory")[^(2 * 4 * 8 * 8)..];
        Assert.That(Relative.Error(GoldenTensors.Load(_folder["out.safetensors"]).F32("latents"), expected), Is.LessThan(1e-4));
    }

    [Test]
    public void Batch_noise_is_one_stream_and_differs_from_image_noise()
    {
        var golden = GoldenTensors.Load(TestFiles.Golden("noise.safetensors")).F32("randn.seed42.2x4x8x8");
        Tiny("--class-labels", "1,2", "--noise", "batch", "--seed", "42", "--latents-only", "--out", _folder["a.safetensors"]).Succeeded();
        Assert.That(Relative.Error(GoldenTensors.Load(_folder["a.safetensors"]).F32("noise"), golden), Is.LessThan(1e-6));
        Tiny("--class-labels", "1,2", "--seed", "42", "--latents-only", "--out", _folder["b.safetensors"]).Succeeded();
        Assert.That(Relative.Error(GoldenTensors.Load(_folder["b.safetensors"]).F32("noise"), golden), Is.GreaterThan(0.1));
    }

    [Test]
    public void The_sample_file_holds_the_images_in_three_channels()
    {
        Digits("--class-labels", "0,1", "--out", _folder["x/"], "--npz", _folder["x.npz"]).Succeeded();
        using var archive = ZipFile.OpenRead(_folder["x.npz"]);
        using var entry = new BinaryReader(archive.GetEntry("arr_0.npy")!.Open());
        var bytes = entry.ReadBytes(1 << 20);
        var data = bytes[^(2 * 32 * 32 * 3)..];
        var pixels = PngReader.ReadPixels(_folder["x/000001.png"]).Pixels;
        for (var i = 0; i < pixels.Length; i++)
            for (var c = 0; c < 3; c++)
                if (data[(32 * 32 + i) * 3 + c] != pixels[i]) Assert.Fail($"pixel {i}, channel {c}");
    }

    [Test]
    public void Several_images_under_one_name_become_a_sheet()
    {
        Digits("--out", _folder["digits.png"]).Succeeded();
        var description = PngReader.ReadDescription(_folder["digits.png"]);
        Assert.That((description.Width, description.Height), Is.EqualTo((5 * 34 + 2, 2 * 34 + 2)));
        Assert.That(description.Text["parameters"], Does.Contain("Class: 0 1 2 3 4 5 6 7 8 9").And.Contain("Grid: 5x2"));
        Assert.That(Names("."), Is.EqualTo(new[] { "digits.png" }));
    }

    [Test]
    public void A_pattern_with_a_sheet_makes_both()
    {
        Digits("--class-labels", "4,5", "--seed", "30", "--grid", "--out", _folder["d{class}-{seed}-%02d.png"]).Succeeded();
        Assert.That(Names("."), Is.EqualTo(new[] { "d4-30-00.png", "d5-31-01.png", "grid.png" }));
    }

    [Test]
    public void Labels_repeat_up_to_the_count()
    {
        var json = Json(Digits("--class-labels", "4", "--class-labels", "7,1", "--count", "5", "--out", _folder["x.png"], "--json"));
        Assert.That(json.GetProperty("images").EnumerateArray().Select(i => i.GetProperty("class").GetInt32()), Is.EqualTo(new[] { 4, 7, 1, 4, 7 }));
    }

    [Test]
    public void Labels_are_understood_by_name()
    {
        var json = Json(Generate("--model", TestFiles.Golden("tiny/diffusers"), "--class-labels", FirstLabelName(), "--steps", "2", "--latents-only", "--out", _folder["x.safetensors"], "--json"));
        Assert.That(json.GetProperty("images")[0].GetProperty("class").GetInt32(), Is.EqualTo(3));
    }

    [Test]
    public void The_summary_tells_what_ran()
    {
        var result = Digits("--class-labels", "3,5", "--seed", "8", "--out", _folder["x/"], "--json");
        var json = Json(result);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(result.Error, Is.Empty);
            Assert.That(json.GetProperty("backend").GetString(), Is.EqualTo("cpu"));
            Assert.That(json.GetProperty("model").GetProperty("name").GetString(), Is.EqualTo("digits"));
            Assert.That(json.GetProperty("model").GetProperty("parameters").GetInt64(), Is.EqualTo(9_324_896));
            Assert.That(json.GetProperty("settings").GetProperty("steps").GetInt32(), Is.EqualTo(3));
            Assert.That(json.GetProperty("settings").GetProperty("seed").GetInt64(), Is.EqualTo(8));
            Assert.That(json.GetProperty("files").GetArrayLength(), Is.EqualTo(2));
            Assert.That(json.GetProperty("seconds").GetProperty("sampling").GetDouble(), Is.GreaterThan(0));
            Assert.That(json.GetProperty("steps_per_second").GetDouble(), Is.GreaterThan(0));
            if (OperatingSystem.IsLinux()) Assert.That(json.GetProperty("peak_resident_bytes").GetInt64(), Is.GreaterThan(1 << 20));
        }
    }

    [Test]
    public void A_drawn_seed_is_told_and_makes_the_same_image()
    {
        var drawn = Digits("--class-labels", "3", "--seed", "-1", "--out", _folder["a.png"]).Succeeded();
        Assert.That(drawn.Error, Does.Match("^seed \\d+\n$"));
        Digits("--class-labels", "3", "--seed", drawn.Error.Trim()[5..], "--out", _folder["b.png"]).Succeeded();
        AssertSameFile("a.png", "b.png");
    }

    [Test]
    public void A_pipeline_folder_with_a_decoder_makes_colour_images_eight_times_as_large()
    {
        var vae = TestFiles.Golden("vae");
        Generate("--model", TestFiles.Golden("tiny/official.safetensors"), "--heads", "2", "--vae", vae, "--class-labels", "1", "--steps", "2", "--out", _folder["x.png"]).Succeeded();
        var description = PngReader.ReadDescription(_folder["x.png"]);
        Assert.That((description.Width, description.Height, description.Colour), Is.EqualTo((64, 64, "RGB")));
    }

    [Test]
    public void Another_image_size_computes_its_positions()
    {
        var json = Json(Digits("--class-labels", "1", "--image-size", "40", "--out", _folder["x.png"], "--json"));
        Assert.That(json.GetProperty("settings").GetProperty("image_size").GetInt32(), Is.EqualTo(40));
        Assert.That(PngReader.ReadDescription(_folder["x.png"]).Width, Is.EqualTo(40));
    }

    [Test]
    public void Scale_1_computes_no_unconditional_half()
    {
        var json = Json(Digits("--class-labels", "1", "--cfg-scale", "1", "--out", _folder["x.png"], "--json"));
        Assert.That(json.GetProperty("settings").GetProperty("guided_channels").GetInt32(), Is.Zero);
    }

    [Test]
    public void Sections_fix_the_number_of_steps()
    {
        var json = Json(Generate("--class-labels", "1", "--spacing", "2,1", "--out", _folder["x.png"], "--json"));
        Assert.That(json.GetProperty("settings").GetProperty("steps").GetInt32(), Is.EqualTo(3));
    }

    private static CliResult Generate(params string[] arguments) => CliRunner.Run(["generate", "--backend", "cpu", .. arguments]);

    /// <summary>Three steps of the built-in model, at guidance scale 2 where nothing else is said.</summary>
    private static CliResult Digits(params string[] arguments)
    {
        string[] scale = arguments.Contains("--cfg-scale") ? [] : ["--cfg-scale", "2"];
        return Generate(["--steps", "3", "--spacing", "linspace", .. scale, .. arguments]);
    }

    private static CliResult Tiny(params string[] arguments) =>
        Generate(["--model", TestFiles.Golden("tiny/official.safetensors"), "--heads", "2", "--steps", "2", .. arguments]);

    private static JsonElement Json(CliResult result) => JsonDocument.Parse(result.Succeeded().Out).RootElement;

    private static string FirstLabelName()
    {
        using var index = JsonDocument.Parse(File.ReadAllText(TestFiles.Golden("tiny/diffusers/model_index.json")));
        return index.RootElement.GetProperty("id2label").GetProperty("3").GetString()!.Split(',')[0];
    }

    private string[] Names(string folder) => [.. Directory.GetFiles(_folder[folder]).Select(f => Path.GetFileName(f)!).Order()];

    private void AssertSameFile(string first, string second) =>
        Assert.That(File.ReadAllBytes(_folder[first]), Is.EqualTo(File.ReadAllBytes(_folder[second])), $"{first} and {second}");
}
