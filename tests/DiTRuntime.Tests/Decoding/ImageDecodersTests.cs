using System.Runtime.InteropServices;
using System.Text;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Decoding;

namespace DiTRuntime.Tests.Decoding;

internal sealed class ImageDecodersTests
{
    private readonly ReferenceBackend _backend = new();
    private readonly string _folder = Directory.CreateTempSubdirectory("decoders").FullName;

    [OneTimeTearDown]
    public void Close()
    {
        _backend.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Test]
    public void Weight_file_opens()
    {
        using var decoder = ImageDecoders.Open(TestFiles.Golden("vae/diffusion_pytorch_model.safetensors"), _backend);
        Assert.That(decoder, Is.InstanceOf<AutoencoderKl>());
    }

    [Test]
    public void Folder_of_a_decoder_opens()
    {
        using var decoder = ImageDecoders.Open(TestFiles.Golden("vae"), _backend);
        Assert.That(decoder, Is.InstanceOf<AutoencoderKl>());
    }

    [Test]
    public void Configuration_in_the_folder_counts()
    {
        var folder = Directory.CreateDirectory(Path.Combine(_folder, "odd")).FullName;
        File.Copy(TestFiles.Golden("vae/diffusion_pytorch_model.safetensors"), Path.Combine(folder, "diffusion_pytorch_model.safetensors"));
        File.WriteAllText(Path.Combine(folder, "config.json"), """{"_class_name": "AutoencoderKL", "latent_channels": 16}""");
        Assert.That(
            () => ImageDecoders.Open(folder, _backend),
            Throws.InstanceOf<InvalidFileException>().With.Message.EqualTo($"{folder}: config.json: latent_channels is 16, the tensors have 4"));
    }

    [Test]
    public void Pipeline_folder_opens_its_vae()
    {
        var vae = Directory.CreateDirectory(Path.Combine(_folder, "pipeline", "vae")).FullName;
        File.Copy(TestFiles.Golden("vae/diffusion_pytorch_model.safetensors"), Path.Combine(vae, "diffusion_pytorch_model.safetensors"));
        using var decoder = ImageDecoders.Open(Path.Combine(_folder, "pipeline"), _backend);
        Assert.That(decoder, Is.InstanceOf<AutoencoderKl>());
    }

    [Test]
    public void Gguf_of_a_tiny_autoencoder_opens()
    {
        var path = Path.Combine(_folder, "tiny.gguf");
        var tensors = TinyAutoencoderTests.Tensors(4, hasPool: false);
        WriteGguf(path, tensors.ConvertAll(t => t with { Name = "first_stage_model.decoder." + t.Name }));
        var latent = TestTensor.Random("latent", 8, 4).Values;
        var (expected, actual) = (new float[8 * 8 * 3], new float[8 * 8 * 3]);
        using (var checkpoint = new TestCheckpoint(tensors))
        using (var decoder = ImageDecoders.Create(checkpoint, _backend)) decoder.Decode(latent, 1, 1, expected);
        using (var decoder = ImageDecoders.Open(path, _backend)) decoder.Decode(latent, 1, 1, actual);
        Assert.That(actual, Is.EqualTo(expected));
    }

    [Test]
    public void Model_without_a_decoder_is_refused() =>
        Assert.That(
            () => ImageDecoders.Open(TestFiles.Golden("tiny/official.safetensors"), _backend),
            Throws.InstanceOf<InvalidFileException>().With.Message.Contains("no decoder in it"));

    [Test]
    public void Missing_path_is_refused() =>
        Assert.That(() => ImageDecoders.Open(Path.Combine(_folder, "absent"), _backend), Throws.InstanceOf<InvalidFileException>());

    [Test]
    public void Decoder_outlives_its_file()
    {
        var latent = new float[4];
        var pixels = new float[8 * 8 * 3];
        using var checkpoint = Checkpoint.Open(TestFiles.Golden("vae"), "vae");
        using var decoder = ImageDecoders.Create(checkpoint, _backend);
        checkpoint.Dispose();
        Assert.That(() => decoder.Decode(latent, 1, 1, pixels), Throws.Nothing);
    }

    /// <summary>GGUF version 3 with F32 tensors; extents are listed fastest first, data aligned to 32 bytes.</summary>
    private static void WriteGguf(string path, List<TestTensor> tensors)
    {
        const int Alignment = 32;
        using var writer = new BinaryWriter(File.Create(path));
        writer.Write("GGUF"u8);
        writer.Write(3);
        writer.Write((long)tensors.Count);
        writer.Write(0L);
        long offset = 0;
        foreach (var tensor in tensors)
        {
            writer.Write((long)tensor.Name.Length);
            writer.Write(Encoding.UTF8.GetBytes(tensor.Name));
            writer.Write(tensor.Shape.Length);
            foreach (var extent in tensor.Shape.Reverse()) writer.Write((long)extent);
            writer.Write(0);
            writer.Write(offset);
            offset += (tensor.Values.Length * sizeof(float) + Alignment - 1) / Alignment * Alignment;
        }

        foreach (var tensor in tensors)
        {
            while (writer.BaseStream.Position % Alignment != 0) writer.Write((byte)0);
            writer.Write(MemoryMarshal.AsBytes<float>(tensor.Values));
        }

        while (writer.BaseStream.Position % Alignment != 0) writer.Write((byte)0);
    }
}
