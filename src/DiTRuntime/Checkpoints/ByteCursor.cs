using System.Buffers.Binary;
using System.Text;

namespace DiTRuntime.Checkpoints;

/// <summary>Reads little-endian fields from a mapped file, front to back; a read past the end is refused.</summary>
/// <param name="file">The file.</param>
/// <param name="position">Where to begin.</param>
/// <param name="end">Where the part being read ends.</param>
/// <param name="what">What is being read, for errors.</param>
internal ref struct ByteCursor(MappedFile file, long position, long end, string what)
{
    /// <summary>Offset of the next byte in the file.</summary>
    public long Position { get; private set; } = position;

    /// <summary>Bytes left.</summary>
    public readonly long Remaining => end - Position;

    /// <summary>The next byte.</summary>
    public byte Byte() => Bytes(1)[0];

    /// <summary>The next 16-bit number.</summary>
    public ushort UInt16() => BinaryPrimitives.ReadUInt16LittleEndian(Bytes(sizeof(ushort)));

    /// <summary>The next 32-bit number.</summary>
    public uint UInt32() => BinaryPrimitives.ReadUInt32LittleEndian(Bytes(sizeof(uint)));

    /// <summary>The next 64-bit number.</summary>
    public ulong UInt64() => BinaryPrimitives.ReadUInt64LittleEndian(Bytes(sizeof(ulong)));

    /// <summary>The next bytes, in place.</summary>
    public ReadOnlySpan<byte> Bytes(long count)
    {
        if (count < 0 || count > Remaining || count > int.MaxValue)
            throw new InvalidFileException(file.Path, $"truncated or damaged: {what} needs {(ulong)count} bytes at offset {Position}, {Remaining} are left");
        var bytes = file.Slice(Position, (int)count);
        Position += count;
        return bytes;
    }

    /// <summary>Passes over bytes.</summary>
    public void Skip(ulong count)
    {
        if (count > (ulong)Remaining)
            throw new InvalidFileException(file.Path, $"truncated or damaged: {what} needs {count} bytes at offset {Position}, {Remaining} are left");
        Position += (long)count;
    }

    /// <summary>The bytes up to the next line feed, which is passed over.</summary>
    public ReadOnlySpan<byte> Line()
    {
        var rest = file.Slice(Position, (int)Math.Min(Remaining, int.MaxValue));
        var length = rest.IndexOf((byte)'\n');
        if (length < 0) throw new InvalidFileException(file.Path, $"truncated or damaged: {what} holds an unfinished line at offset {Position}");
        Position += length + 1;
        return rest[..length];
    }

    /// <summary>Text of a length in bytes; damaged UTF-8 reads as replacement characters.</summary>
    public string Text(long byteCount) => Encoding.UTF8.GetString(Bytes(byteCount));
}
