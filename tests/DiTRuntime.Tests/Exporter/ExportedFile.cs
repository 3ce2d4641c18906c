using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using DiTRuntime.Exporter.Files;

namespace DiTRuntime.Tests.Exporter;

/// <summary>A weights file, read as the runtime reads it.</summary>
internal sealed class ExportedFile
{
    private readonly byte[] _bytes;

    public ExportedFile(string path)
    {
        _bytes = File.ReadAllBytes(path);
        Header = MemoryMarshal.Read<FileHeader>(_bytes);
        Assert.That(Header.FileBytes, Is.EqualTo((ulong)_bytes.Length));
    }

    public FileHeader Header { get; }

    public FileLayer[] Layers => Values<FileLayer>(Header.Layers);

    public FileTensor[] Tensors => Values<FileTensor>(Header.Tensors);

    public FileOperation[] Operations => Values<FileOperation>(Header.Operations);

    public byte[] Bytes(FileSection section) => _bytes.AsSpan((int)section.Offset, (int)section.Bytes).ToArray();

    public T[] Values<T>(FileSection section)
        where T : unmanaged
    {
        Assert.That(section.Bytes % (ulong)Unsafe.SizeOf<T>(), Is.Zero);
        return MemoryMarshal.Cast<byte, T>(Bytes(section)).ToArray();
    }

    public static string NameOf(FileLayer layer)
    {
        ReadOnlySpan<byte> bytes = layer.Name;
        return System.Text.Encoding.ASCII.GetString(bytes[..bytes.IndexOf((byte)0)]);
    }

    /// <summary>Every section of the file.</summary>
    public IEnumerable<(FileSection Section, int Alignment)> Sections()
    {
        foreach (var section in new[] { Header.Layers, Header.Positions, Header.Frequencies, Header.Tensors, Header.Operations, Header.ClassNames }) yield return (section, 64);
        foreach (var layer in Layers)
        {
            yield return (layer.Weight, 4096);
            foreach (var section in new[] { layer.Scales, layer.Zeros, layer.Codebook, layer.Table, layer.Bias, layer.StaticScales, layer.StaticZeros }) yield return (section, 64);
        }

        foreach (var operation in Operations)
        {
            yield return (operation.Gamma, 64);
            yield return (operation.Beta, 64);
        }
    }
}
