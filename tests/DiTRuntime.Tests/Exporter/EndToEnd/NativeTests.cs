using System.Runtime.InteropServices;
using DiTRuntime.Exporter.Files;

namespace DiTRuntime.Tests.Exporter.EndToEnd;

/// <summary>Exports built and run on this machine.</summary>
internal sealed class NativeTests
{
    private const int Mismatch = 6;

    private static readonly string[] s_paths = RuntimeInformation.ProcessArchitecture == Architecture.Arm64
        ? ["portable", "neon", "neon-dotprod", "neon-i8mm"]
        : ["portable", "avx2", "avx-vnni", "avx512"];

    [Test]
    public void Sources_are_the_same_for_every_model()
    {
        var first = ExportedModels.Of(ExportCase.Small[0]).Folder;
        foreach (var model in ExportCase.All.Skip(1))
            foreach (var name in new[] { "dit.c", "dit.h", "main.c", "CMakeLists.txt" })
                Assert.That(File.ReadAllText(Path.Combine(ExportedModels.Of(model).Folder, name)), Is.EqualTo(File.ReadAllText(Path.Combine(first, name))), $"{model}: {name}");
    }

    [Test]
    public void Draws_what_the_backend_draws([ValueSource(typeof(ExportCase), nameof(ExportCase.All))] ExportCase model, [ValueSource(nameof(s_paths))] string simd) =>
        CBuild.Gcc.DrawsTheSame(model, simd);

    [Test]
    public void Clang_draws_the_same([ValueSource(typeof(ExportCase), nameof(ExportCase.All))] ExportCase model) => CBuild.Clang.DrawsTheSame(model);

    [Test]
    public void Clang_draws_the_same_with([ValueSource(nameof(s_paths))] string simd) => CBuild.Clang.DrawsTheSame(ExportCase.Digits[2], simd);

    [Test]
    public void Sanitizers_find_nothing([ValueSource(typeof(ExportCase), nameof(ExportCase.Small))] ExportCase model, [ValueSource(nameof(s_paths))] string simd) =>
        CBuild.Repository.DrawsTheSame(model, simd);

    [Test]
    public void Good_export_verifies([ValueSource(typeof(ExportCase), nameof(ExportCase.All))] ExportCase model)
    {
        var (code, text) = CBuild.Gcc.Verify(ExportedModels.Of(model).Folder);
        Assert.That(code, Is.Zero, text);
        Assert.That(text, Does.Contain("worst error of a block 0, of a pixel 0"), "bit for bit");
    }

    [Test]
    public void Flipped_weight_bit_is_found_by_hashes_and_by_values([ValueSource(typeof(ExportCase), nameof(ExportCase.All))] ExportCase model)
    {
        var weights = Path.Combine(ExportedModels.Of(model).Folder, "weights.dit");
        using var file = new FileStream(weights, FileMode.Open, FileAccess.ReadWrite);
        var at = MiddleOfQkv(file);
        Flip(file, at);
        try
        {
            var byHashes = CBuild.Gcc.Verify(ExportedModels.Of(model).Folder);
            var byValues = CBuild.Gcc.Verify(ExportedModels.Of(model).Folder, null, "--skip-hashes");
            using (Assert.EnterMultipleScope())
            {
                Assert.That(byHashes.Code, Is.EqualTo(Mismatch), byHashes.Text);
                Assert.That(byHashes.Text, Does.Contain("weights.dit"));
                Assert.That(byValues.Code, Is.EqualTo(Mismatch), byValues.Text);
            }
        }
        finally
        {
            Flip(file, at);
        }
    }

    /// <summary>The place of a byte of the first block's qkv, the sixth layer; of floats it is the one with the exponent.</summary>
    private static long MiddleOfQkv(FileStream file)
    {
        var header = Read<FileHeader>(file, 0);
        var layer = Read<FileLayer>(file, (long)header.Layers.Offset + 5 * Marshal.SizeOf<FileLayer>());
        return (long)(layer.Weight.Offset + layer.Weight.Bytes / 2) | 3;
    }

    private static T Read<T>(FileStream file, long offset) where T : unmanaged
    {
        var value = default(T);
        file.Position = offset;
        file.ReadExactly(MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(ref value, 1)));
        return value;
    }

    /// <summary>A bit of a code, or of an exponent.</summary>
    private static void Flip(FileStream file, long offset)
    {
        file.Position = offset;
        var value = file.ReadByte();
        file.Position = offset;
        file.WriteByte((byte)(value ^ 0x08));
        file.Flush();
    }
}
