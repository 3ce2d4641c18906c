using System.Text;

namespace DiTRuntime.Tests.Checkpoints;

/// <summary>Writes zip archives field by field, also such as no honest program writes. Check sums stay zero.</summary>
internal sealed class ZipWriter
{
    private readonly List<byte> _data = [];
    private readonly List<byte> _directory = [];
    private ushort _count;

    /// <summary>Writes every size and offset into zip64 fields.</summary>
    public bool Zip64 { get; init; }

    /// <summary>A checkpoint as torch.save arranges it.</summary>
    public static byte[] Checkpoint(byte[] pickle, params (string Key, byte[] Bytes)[] storages)
    {
        var zip = new ZipWriter().Add("model/data.pkl", pickle);
        foreach (var (key, bytes) in storages) zip.Add($"model/data/{key}", bytes);
        return zip.ToArray();
    }

    public ZipWriter Add(string name, byte[] content, ushort flags = 0, ushort method = 0, string? localName = null, long sizeError = 0)
    {
        var offset = _data.Count;
        Header(_data, 0x04034b50, flags, method, content.Length + sizeError, localName ?? name, offset: null);
        _data.AddRange(content);
        Header(_directory, 0x02014b50, flags, method, content.Length, name, offset);
        _count++;
        return this;
    }

    public byte[] ToArray(long directoryShift = 0)
    {
        long start = _data.Count;
        long length = _directory.Count;
        using var output = new MemoryStream();
        using var writer = new BinaryWriter(output);
        writer.Write([.. _data, .. _directory]);
        if (Zip64)
        {
            var record = output.Position;
            writer.Write(0x06064b50);
            writer.Write(44L);
            writer.Write(0x002d_002d);
            writer.Write(0L);
            writer.Write((long)_count);
            writer.Write((long)_count);
            writer.Write(length);
            writer.Write(start + directoryShift);
            writer.Write(0x07064b50);
            writer.Write(0);
            writer.Write(record);
            writer.Write(1);
        }

        writer.Write(0x06054b50);
        writer.Write(0);
        writer.Write(Zip64 ? ushort.MaxValue : _count);
        writer.Write(Zip64 ? ushort.MaxValue : _count);
        writer.Write(Zip64 ? uint.MaxValue : (uint)length);
        writer.Write(Zip64 ? uint.MaxValue : (uint)(start + directoryShift));
        writer.Write((ushort)0);
        return output.ToArray();
    }

    private void Header(List<byte> destination, uint signature, ushort flags, ushort method, long size, string name, long? offset)
    {
        using var output = new MemoryStream();
        using var writer = new BinaryWriter(output);
        var nameBytes = Encoding.UTF8.GetBytes(name);
        long[] wide = Zip64 ? [size, size, .. offset is { } at ? new[] { at } : []] : [];
        writer.Write(signature);
        if (offset is not null) writer.Write((ushort)0);
        writer.Write((ushort)0);
        writer.Write(flags);
        writer.Write(method);
        writer.Write(0);
        writer.Write(0);
        writer.Write(Zip64 ? uint.MaxValue : (uint)size);
        writer.Write(Zip64 ? uint.MaxValue : (uint)size);
        writer.Write((ushort)nameBytes.Length);
        writer.Write((ushort)(Zip64 ? 4 + 8 * wide.Length : 0));
        if (offset is { } position)
        {
            writer.Write((ushort)0);
            writer.Write((ushort)0);
            writer.Write((ushort)0);
            writer.Write(0);
            writer.Write(Zip64 ? uint.MaxValue : (uint)position);
        }

        writer.Write(nameBytes);
        if (Zip64)
        {
            writer.Write((ushort)1);
            writer.Write((ushort)(8 * wide.Length));
            foreach (var value in wide) writer.Write(value);
        }

        destination.AddRange(output.ToArray());
    }
}
