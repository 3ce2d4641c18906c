using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Checkpoints;

public sealed class CheckpointTests
{
    private readonly TestFolder _folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void The_content_decides_not_the_name()
    {
        File.Copy(TestFiles.Golden("tiny/official.pt"), _folder["zip.safetensors"]);
        File.Copy(TestFiles.Golden("tiny/official.safetensors"), _folder["plain.ckpt"]);

        using var zip = Checkpoint.Open(_folder["zip.safetensors"]);
        using var plain = Checkpoint.Open(_folder["plain.ckpt"]);

        Assert.That((zip.Kind, plain.Kind), Is.EqualTo(("PyTorch zip", "safetensors")));
    }

    [TestCase("official.safetensors", "", "no such file")]
    [TestCase("empty.pt", "", "the file is empty")]
    [TestCase("text.pt", "hello, world", "not a model file")]
    [TestCase("short.safetensors", "abc", "the file has 3 bytes")]
    public void What_is_no_model_is_refused(string name, string content, string reason)
    {
        var path = _folder[name];
        if (reason != "no such file") File.WriteAllText(path, content);

        Assert.That(Refusal.Of(path), Does.Contain(reason));
    }

    [Test]
    public void A_bare_pickle_of_old_torch_is_refused_with_the_way_out()
    {
        byte[] magic = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, (byte)'.'];

        Assert.That(Refusal.Of(_folder.Write("old.pt", magic)), Does.Contain("save it again with torch 1.6"));
    }

    [Test]
    public void An_empty_path_is_refused() => Assert.That(() => Checkpoint.Open(""), Throws.TypeOf<InvalidFileException>());

    [TestCase("diffusers")]
    [TestCase("diffusers/transformer")]
    [TestCase("diffusers/transformer/diffusion_pytorch_model.safetensors")]
    public void A_pipeline_a_component_and_its_weights_open_alike(string path)
    {
        using var checkpoint = Checkpoint.Open(TestFiles.Golden($"tiny/{path}"));

        Assert.That(checkpoint.Kind, Is.EqualTo("diffusers, safetensors"));
        Assert.That(checkpoint.Metadata["config.json"], Does.Contain("num_attention_heads"));
        Assert.That(checkpoint.Metadata["model_index.json"], Does.Contain("id2label"));
    }

    [TestCase("diffusion_pytorch_model.fp16.safetensors", "official.safetensors")]
    [TestCase("diffusion_pytorch_model.bin", "official.pt")]
    public void Every_weight_file_name_is_found(string name, string golden)
    {
        File.Copy(TestFiles.Golden($"tiny/{golden}"), _folder[$"{golden}.folder/{name}"]);

        using var checkpoint = Checkpoint.Open(_folder[$"{golden}.folder"]);

        Assert.That(checkpoint.Tensors, Has.Count.EqualTo(32));
    }

    [Test]
    public void Another_component_is_opened_on_request()
    {
        File.Copy(TestFiles.Golden("vae/diffusion_pytorch_model.safetensors"), _folder["pipe/vae/diffusion_pytorch_model.safetensors"]);

        using var checkpoint = Checkpoint.Open(_folder["pipe"], component: "vae");

        Assert.That(checkpoint.Tensors, Is.Not.Empty);
    }

    [Test]
    public void A_folder_without_weights_is_refused() =>
        Assert.That(Refusal.Of(Path.GetDirectoryName(_folder["nothing/x"])!), Does.Contain("a folder without weights: diffusion_pytorch_model.safetensors"));

    [Test]
    public void A_refused_file_is_let_go()
    {
        var path = _folder.WriteSafetensors("broken.safetensors", "{}", 1);
        Refusal.Of(path);

        Assert.That(Mappings(path), Is.Zero);
    }

    [Test]
    public void A_disposed_checkpoint_lets_its_files_go()
    {
        var path = _folder.WriteSafetensors("whole.safetensors", """{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}""", 1);
        var checkpoint = Checkpoint.Open(path);
        Assert.That(Mappings(path), Is.EqualTo(1));

        checkpoint.Dispose();

        Assert.That(Mappings(path), Is.Zero);
    }

    private static int Mappings(string path)
    {
        if (!OperatingSystem.IsLinux()) Assert.Ignore("/proc/self/maps lists the mappings on Linux only");
        return File.ReadLines("/proc/self/maps").Count(line => line.EndsWith(path, StringComparison.Ordinal));
    }
}
