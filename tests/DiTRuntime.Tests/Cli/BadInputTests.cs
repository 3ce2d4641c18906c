using System.IO.Compression;
using System.Text;
using System.Text.Json.Nodes;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Cli;

/// <summary>Every kind of bad input, once, through the command: exit 2 or 3, one line that names the trouble, nothing written.</summary>
public sealed class BadInputTests
{
    private TemporaryFolder _inputs = null!;
    private TemporaryFolder _outputs = null!;

    [SetUp]
    public void MakeFolders()
    {
        _inputs = new TemporaryFolder();
        _outputs = new TemporaryFolder();
    }

    [TearDown]
    public void NothingIsWritten()
    {
        var left = Directory.GetFileSystemEntries(_outputs.Path);
        _inputs.Dispose();
        _outputs.Dispose();
        Assert.That(left, Is.Empty);
    }

    [Test]
    public void A_missing_model() => Refused("missing.safetensors", "missing.safetensors: no such file");

    [TestCase("model.safetensors")]
    [TestCase("model.pt")]
    [TestCase("model.gguf")]
    [TestCase("model.safetensors.index.json")]
    public void An_empty_model(string name) => Refused(Save(name, []), name);

    [TestCase("tiny/official.safetensors", 6)]
    [TestCase("tiny/official.safetensors", 100)]
    [TestCase("tiny/official.safetensors", -1)]
    [TestCase("tiny/official.pt", 20)]
    [TestCase("tiny/official.pt", -1)]
    [TestCase("tiny/train.pt", -400)]
    public void A_truncated_model(string golden, int length)
    {
        var bytes = File.ReadAllBytes(TestFiles.Golden(golden));
        Refused(Save("cut" + Path.GetExtension(golden), bytes[..(length < 0 ? bytes.Length + length : length)]), "cut");
    }

    [TestCase("tiny/official.safetensors", 2)]
    [TestCase("tiny/official.safetensors", 8)]
    [TestCase("tiny/official.safetensors", 12)]
    [TestCase("tiny/official.pt", 0)]
    [TestCase("tiny/official.pt", -10)]
    public void A_model_with_a_flipped_bit(string golden, int position)
    {
        var bytes = File.ReadAllBytes(TestFiles.Golden(golden));
        bytes[position < 0 ? bytes.Length + position : position] ^= 0x10;
        Refused(Save("flipped" + Path.GetExtension(golden), bytes), "flipped");
    }

    [Test]
    public void A_truncated_gguf_decoder() => RefusedDecoder(Save("tiny.gguf", [.. "GGUF"u8, 3, 0, 0, 0, 9]), "tiny.gguf");

    [Test]
    public void A_gguf_decoder_with_a_flipped_bit() => RefusedDecoder(Save("tiny.gguf", [.. "GGUF"u8, 0x13, 0, 0, 0, .. new byte[16]]), "tiny.gguf");

    [Test]
    public void A_decoder_file_that_holds_none() => RefusedDecoder(TestFiles.Golden("noise.safetensors"), "noise.safetensors", "no decoder");

    [Test]
    public void A_pipeline_whose_configuration_is_cut()
    {
        var folder = Directory.CreateDirectory(_inputs["transformer"]).FullName;
        var source = TestFiles.Golden("tiny/diffusers/transformer");
        File.Copy(Path.Combine(source, "diffusion_pytorch_model.safetensors"), Path.Combine(folder, "diffusion_pytorch_model.safetensors"));
        File.WriteAllBytes(Path.Combine(folder, "config.json"), File.ReadAllBytes(Path.Combine(source, "config.json"))[..40]);
        Refused(folder, "config.json", "JSON");
    }

    [Test]
    public void A_header_that_is_too_large() => Refused(Save("h.safetensors", [0, 0xe2, 0xf5, 0x05 + 1, 0, 0, 0, 0, (byte)'{', (byte)'}']), "h.safetensors", "header");

    [Test]
    public void Tensors_that_overlap() => Refused(TwoTensors([0, 16], [8, 24]), "b", "two.safetensors");

    [Test]
    public void Tensors_that_leave_a_hole() => Refused(TwoTensors([0, 16], [20, 36]), "b", "two.safetensors");

    [Test]
    public void A_shape_that_overflows()
    {
        var file = RawSafetensors.Empty().Add("a", [4], 1f, 2f, 3f, 4f);
        file.Header["a"]!["shape"] = new JsonArray(4294967296L, 4294967296L, 4294967296L);
        Refused(file.Save(_inputs["big.safetensors"]), "big.safetensors", "tensor a");
    }

    [Test]
    public void A_pickle_that_names_os_system()
    {
        var canary = _inputs["canary"];
        var command = Encoding.UTF8.GetBytes($"touch {canary}");
        // GLOBAL os.system, its argument, TUPLE1, REDUCE, STOP.
        Refused(Zip("evil.pt", ("archive/data.pkl", [0x80, 2, .. "cos\nsystem\n"u8, (byte)'X', (byte)command.Length, 0, 0, 0, .. command, 0x85, (byte)'R', (byte)'.'])), "evil.pt");
        Assert.That(File.Exists(canary), Is.False);
    }

    [Test]
    public void A_legacy_pickle() =>
        Refused(Save("old.pt", [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, (byte)'.']), "old.pt", "torch");

    [TestCase("/archive/data.pkl")]
    [TestCase("../archive/data.pkl")]
    public void A_zip_whose_entry_leads_elsewhere(string entry) => Refused(Zip("path.pt", (entry, [0x80, 2, (byte)'}', (byte)'.'])), "path.pt");

    [Test]
    public void A_zip_with_an_entry_twice() =>
        Refused(Zip("twice.pt", ("a/data.pkl", [0x80, 2, (byte)'}', (byte)'.']), ("a/data.pkl", [0x80, 2, (byte)']', (byte)'.'])), "twice.pt", "a/data.pkl");

    [Test]
    public void A_missing_tensor() => Refused(Official().Remove("blocks.1.mlp.fc2.bias").Save(_inputs["m.safetensors"]), "m.safetensors", "blocks.1.mlp.fc2.bias", "missing", "[64]");

    [Test]
    public void An_extra_tensor() => Refused(Official().Add("blocks.1.mlp.fc3.bias", [2], 1f, 2f).Save(_inputs["m.safetensors"]), "m.safetensors", "blocks.1.mlp.fc3.bias", "[2]", "extra");

    [Test]
    public void A_tensor_of_another_shape() =>
        Refused(Official().Remove("blocks.0.attn.proj.bias").Add("blocks.0.attn.proj.bias", [3], 1f, 2f, 3f).Save(_inputs["m.safetensors"]), "m.safetensors", "blocks.0.attn.proj.bias", "[3]", "[64]");

    [TestCase("blocks.1.mlp.fc1.weight", float.NaN)]
    [TestCase("blocks.0.attn.qkv.bias", float.PositiveInfinity)]
    [TestCase("y_embedder.embedding_table.weight", float.NaN)]
    public void A_weight_that_is_no_number(string tensor, float value) => Refused(Official().Poke(tensor, value).Save(_inputs["m.safetensors"]), "m.safetensors", tensor);

    [Test]
    public void A_model_with_an_unknown_head_count() =>
        Tiny("--latents-only", "--out", _outputs["x.safetensors"], "--heads", "7").Failed(ExitCode.Usage, "7");

    [TestCase("--class-labels 10", "0 to 9", "--class-labels", "10")]
    [TestCase("--class-labels -1", "0 to 9", "--class-labels", "-1")]
    [TestCase("'dog'", "no names", "--class-labels", "dog")]
    [TestCase("--sampler euler", "ddim or ddpm", "--sampler", "euler")]
    [TestCase("--steps -5", "1 to 1000", "--steps", "-5")]
    [TestCase("--steps 0", "1 to 1000", "--steps", "0")]
    [TestCase("--steps 1001", "1 to 1000", "--steps", "1001")]
    [TestCase("--spacing random", "leading", "--spacing", "random")]
    [TestCase("--eta -1", "0 to 1", "--eta", "-1")]
    [TestCase("--cfg-scale -2", "not negative", "--cfg-scale", "-2")]
    [TestCase("--cfg-channels 2", "3 or all", "--cfg-channels", "2")]
    [TestCase("--seed -2", "-1", "--seed", "-2")]
    [TestCase("--count 0", "1 to", "--count", "0")]
    [TestCase("--batch 0", "1 or more", "--batch", "0")]
    [TestCase("--shard 3/2", "i/n", "--shard", "3/2")]
    [TestCase("--shard 9/9", "nothing", "--shard", "9/9", "--count", "3")]
    [TestCase("--shard", "--noise image", "--shard", "1/2", "--noise", "batch")]
    [TestCase("--shard", "--seed -1", "--shard", "1/2", "--seed", "-1")]
    [TestCase("--shard with --npz", "--grid", "--shard", "1/2", "--npz", "x.npz", "--grid")]
    [TestCase("--shard with --npz", "--save-latents", "--shard", "1/2", "--npz", "x.npz", "--save-latents", "x.safetensors")]
    [TestCase("--image-size 33", "multiple of 4", "--image-size", "33")]
    [TestCase("--batch", "at most", "--batch", "1000000", "--count", "1000000")]
    public void A_flag_out_of_range(string found, string expected, params string[] flags) =>
        CliRunner.Run(["generate", .. flags, "--out", _outputs["x.png"]]).Failed(ExitCode.Usage, found, expected);

    [Test]
    public void A_model_on_latents_without_a_decoder() => Tiny("--out", _outputs["x.png"], "--heads", "2").Failed(ExitCode.Usage, "--vae", "--latents-only");

    [Test]
    public void Latents_of_another_shape()
    {
        var latents = RawSafetensors.Empty().Add("latents", [1, 1, 4, 4], new float[16]).Save(_inputs["l.safetensors"]);
        CliRunner.Run("generate", "--latents", latents, "--out", _outputs["x.png"]).Failed(ExitCode.InvalidFile, "latents", "[1,1,4,4]", "[n,1,32,32]");
    }

    [Test]
    public void Latents_for_another_number_of_images()
    {
        var latents = RawSafetensors.Empty().Add("latents", [1, 1, 32, 32], new float[32 * 32]).Save(_inputs["l.safetensors"]);
        CliRunner.Run("generate", "--latents", latents, "--count", "3", "--out", _outputs["x.png"]).Failed(ExitCode.Usage, "--count 3", "1 image");
    }

    [TestCase("--out", "missing/x.png", "no such folder")]
    [TestCase("--out", "x.bmp", ".png")]
    [TestCase("--npz", "missing/x.npz", "no such folder")]
    [TestCase("--save-latents", "missing/x.safetensors", "no such folder")]
    public void An_output_that_cannot_be_written(string flag, string name, string problem) =>
        CliRunner.Run("generate", "--class-labels", "1", flag, _outputs[name]).Failed(ExitCode.Usage, name, problem);

    [Test]
    public void A_folder_where_a_file_is_to_be() =>
        CliRunner.Run("generate", "--class-labels", "1", "--npz", _inputs.Path).Failed(ExitCode.Usage, _inputs.Path, "folder");

    [Test]
    public void A_folder_that_takes_no_files()
    {
        if (!OperatingSystem.IsLinux()) Assert.Ignore("needs /proc, which takes no files whoever asks");
        CliRunner.Run("generate", "--class-labels", "1", "--out", "/proc/x.png").Failed(ExitCode.Usage, "/proc/x.png", "takes no files");
    }

    [TestCase(3, 1)]
    [TestCase(20, 1)]
    [TestCase(-5, 1)]
    [TestCase(0, 0x10)]
    public void A_damaged_image(int position, int flip)
    {
        var image = _inputs["x.png"];
        CliRunner.Run("generate", "--class-labels", "1", "--steps", "1", "--out", image).Succeeded();
        var bytes = File.ReadAllBytes(image);
        bytes[position < 0 ? bytes.Length + position : position] ^= (byte)flip;
        File.WriteAllBytes(image, bytes);
        CliRunner.Run("inspect", image).Failed(ExitCode.InvalidFile, "x.png");
        File.WriteAllBytes(image, bytes[..40]);
        CliRunner.Run("inspect", image).Failed(ExitCode.InvalidFile, "x.png");
    }

    private static RawSafetensors Official() => RawSafetensors.Load(TestFiles.Golden("tiny/official.safetensors"));

    private static CliResult Tiny(params string[] flags) => CliRunner.Run(["generate", "--model", TestFiles.Golden("tiny/official.pt"), "--steps", "2", .. flags]);

    private string Save(string name, byte[] bytes)
    {
        File.WriteAllBytes(_inputs[name], bytes);
        return _inputs[name];
    }

    private string Zip(string name, params (string Entry, byte[] Bytes)[] entries)
    {
        using var archive = ZipFile.Open(_inputs[name], ZipArchiveMode.Create);
        foreach (var (entry, bytes) in entries)
        {
            using var stream = archive.CreateEntry(entry, CompressionLevel.NoCompression).Open();
            stream.Write(bytes);
        }

        return _inputs[name];
    }

    private string TwoTensors(int[] first, int[] second)
    {
        var file = RawSafetensors.Empty().Add("a", [4], new float[4]).Add("b", [4], new float[4]).Add("c", [4], new float[4]);
        file.Header.Remove("c");
        file.Header["a"]!["data_offsets"] = new JsonArray(first[0], first[1]);
        file.Header["b"]!["data_offsets"] = new JsonArray(second[0], second[1]);
        return file.Save(_inputs["two.safetensors"]);
    }

    private void Refused(string model, params string[] words) =>
        CliRunner.Run("generate", "--model", model, "--heads", "2", "--steps", "2", "--latents-only", "--out", _outputs["x.safetensors"]).Failed(ExitCode.InvalidFile, words);

    private void RefusedDecoder(string vae, params string[] words) =>
        Tiny("--heads", "2", "--vae", vae, "--out", _outputs["x.png"]).Failed(ExitCode.InvalidFile, words);
}
