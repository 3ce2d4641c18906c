using DiTRuntime.Backends.Cpu;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Models;

/// <summary>A packed model that was read into memory.</summary>
[TestFixture]
internal sealed class PackedCopyTests
{
    [Test]
    public void What_happens_to_the_file_does_not_reach_a_copy([Values] bool cut)
    {
        using var folder = new TestFolder();
        var path = PackedFiles.Write(folder["w4.safetensors"], new GroupFormat(4, 32), packAll: true);
        using var backend = CpuBackend.Create(new CpuOptions(1));
        using var model = new DiTModel(DiTWeightsLoader.Load(path, new DiTLoadOptions { CopiesPackedFile = true }), backend, Compatibility.Official);
        var image = new RollingImage(1, 5, RollingScene.Plan("ddim", "leading", 4), 3, 3);
        var expected = new RollingScene(model, 1).Alone(image);
        using (var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            if (cut) file.SetLength(10);
            else file.Write(new byte[file.Length]);
        }

        // Every layer of it is used again, adaLN too.
        Assert.That(new RollingScene(model, 1).Alone(image), Is.EqualTo(expected));
        Assert.That(() => DiTWeightsLoader.Load(path, new DiTLoadOptions { CopiesPackedFile = true }), Throws.InstanceOf<InvalidFileException>());
    }
}
