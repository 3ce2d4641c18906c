using System.Text;

namespace DiTRuntime.Checkpoints;

/// <summary>Where the bytes of one stored entry lie.</summary>
/// <param name="Name">The entry's full name.</param>
/// <param name="Offset">Offset of its data in the file.</param>
/// <param name="Length">Bytes.</param>
internal readonly record struct ZipEntry(string Name, long Offset, long Length);

/// <summary>
/// The entries of a zip archive whose entries are all stored (uncompressed), as PyTorch writes it: read in place, so that tensors map
/// straight to the file. Zip64 is read; anything that could mean two things is refused.
/// </summary>
internal static class ZipDirectory
{
    private const uint EndSignature = 0x06054b50;
    private const uint End64Signature = 0x06064b50;
    private const uint Locator64Signature = 0x07064b50;
    private const uint CentralSignature = 0x02014b50;
    private const uint LocalSignature = 0x04034b50;
    private const int EndBytes = 22;
    private const int Locator64Bytes = 20;
    private const int CentralBytes = 46;
    private const int LocalBytes = 30;
    private const ushort EncryptedFlag = 1;
    private const ushort SizesFollowFlag = 8;
    private const ushort Zip64Extra = 1;

    /// <summary>The entries by name.</summary>
    /// <exception cref="InvalidFileException">The archive is damaged, ambiguous, compressed or encrypted.</exception>
    public static Dictionary<string, ZipEntry> Read(MappedFile file)
    {
        var (start, end, count) = FindCentralDirectory(file);
        if (count > (ulong)(end - start) / CentralBytes)
            throw new InvalidFileException(file.Path, $"the zip directory of {end - start} bytes cannot hold the {count} entries it claims");
        TensorRules.CheckTensorCount(file.Path, count);
        var entries = new Dictionary<string, ZipEntry>((int)count, StringComparer.Ordinal);
        var cursor = new ByteCursor(file, start, end, "the zip directory");
        for (ulong i = 0; i < count; i++)
        {
            var entry = ReadEntry(file, ref cursor, start);
            if (!entries.TryAdd(entry.Name, entry)) throw new InvalidFileException(file.Path, $"the zip archive holds {entry.Name} twice");
        }

        CheckOverlap(file, entries.Values);
        return entries;
    }

    private static (long Start, long End, ulong Count) FindCentralDirectory(MappedFile file)
    {
        var end = FindEnd(file);
        var cursor = new ByteCursor(file, end + 8, file.Length, "the zip end record");
        var entriesHere = cursor.UInt16();
        ulong count = cursor.UInt16();
        ulong size = cursor.UInt32();
        ulong offset = cursor.UInt32();
        if (entriesHere != count) throw new InvalidFileException(file.Path, "the zip archive spans several files");
        if (count == ushort.MaxValue || size == uint.MaxValue || offset == uint.MaxValue)
        {
            var locator = new ByteCursor(file, end - Locator64Bytes, end, "the zip64 locator");
            if (end < Locator64Bytes || locator.UInt32() != Locator64Signature)
                throw new InvalidFileException(file.Path, "the zip archive needs a zip64 end record and has none");
            locator.Skip(4);
            var record = locator.UInt64();
            if (record > (ulong)end) throw new InvalidFileException(file.Path, "the zip64 end record lies outside the file");
            var record64 = new ByteCursor(file, (long)record, end, "the zip64 end record");
            if (record64.UInt32() != End64Signature) throw new InvalidFileException(file.Path, "the zip64 end record has another signature");
            record64.Skip(28);
            count = record64.UInt64();
            size = record64.UInt64();
            offset = record64.UInt64();
            end = (long)record;
        }

        if (offset > (ulong)end || size > (ulong)end - offset)
            throw new InvalidFileException(file.Path, "the zip directory lies outside the file");
        return ((long)offset, (long)(offset + size), count);
    }

    private static long FindEnd(MappedFile file)
    {
        // The end record closes with a comment of up to 65,535 bytes; the right one reaches exactly to the end of the file.
        var first = Math.Max(0, file.Length - EndBytes - ushort.MaxValue);
        var tail = file.Slice(first, (int)(file.Length - first));
        for (var at = tail.Length - EndBytes; at >= 0; at--)
        {
            if (BitConverter.ToUInt32(tail[at..]) == EndSignature && BitConverter.ToUInt16(tail[(at + 20)..]) == tail.Length - at - EndBytes)
                return first + at;
        }

        throw new InvalidFileException(file.Path, "truncated or damaged: the zip archive has no end record");
    }

    private static ZipEntry ReadEntry(MappedFile file, ref ByteCursor cursor, long dataEnd)
    {
        if (cursor.UInt32() != CentralSignature) throw new InvalidFileException(file.Path, "the zip directory is damaged: an entry has another signature");
        cursor.Skip(4);
        var flags = cursor.UInt16();
        var method = cursor.UInt16();
        cursor.Skip(8);
        ulong stored = cursor.UInt32();
        ulong size = cursor.UInt32();
        int nameLength = cursor.UInt16();
        int extraLength = cursor.UInt16();
        int commentLength = cursor.UInt16();
        cursor.Skip(8);
        ulong offset = cursor.UInt32();
        var nameBytes = cursor.Bytes(nameLength);
        var name = Encoding.UTF8.GetString(nameBytes);
        CheckName(file.Path, name);
        ReadExtra(new ByteCursor(file, cursor.Position, cursor.Position + extraLength, $"the zip entry {name}"), ref size, ref stored, ref offset);
        cursor.Skip((ulong)extraLength + (ulong)commentLength);
        if ((flags & EncryptedFlag) != 0) throw new InvalidFileException(file.Path, $"the zip entry {name} is encrypted");
        if (method != 0 || stored != size)
            throw new InvalidFileException(file.Path, $"the zip entry {name} is compressed (method {method}); PyTorch stores entries as they are");
        if (offset > (ulong)dataEnd) throw new InvalidFileException(file.Path, $"the zip entry {name} lies outside the file");
        var data = CheckLocalHeader(file, name, nameBytes, (long)offset, dataEnd, size);
        return new ZipEntry(name, data, (long)size);
    }

    private static void ReadExtra(ByteCursor extra, ref ulong size, ref ulong stored, ref ulong offset)
    {
        while (extra.Remaining >= 4)
        {
            var id = extra.UInt16();
            var length = extra.UInt16();
            if (id != Zip64Extra)
            {
                extra.Skip(length);
                continue;
            }

            // Only the fields that overflowed their 32 bits are present, in this order.
            if (size == uint.MaxValue) size = extra.UInt64();
            if (stored == uint.MaxValue) stored = extra.UInt64();
            if (offset == uint.MaxValue) offset = extra.UInt64();
            return;
        }
    }

    /// <summary>The local header repeats the entry; whoever disagrees with the directory is not to be trusted.</summary>
    private static long CheckLocalHeader(MappedFile file, string name, ReadOnlySpan<byte> nameBytes, long offset, long dataEnd, ulong size)
    {
        var local = new ByteCursor(file, offset, dataEnd, $"the zip entry {name}");
        if (local.UInt32() != LocalSignature) throw new InvalidFileException(file.Path, $"the zip entry {name} has no local header where the directory says");
        local.Skip(2);
        var flags = local.UInt16();
        var method = local.UInt16();
        local.Skip(8);
        ulong stored = local.UInt32();
        ulong localSize = local.UInt32();
        int nameLength = local.UInt16();
        int extraLength = local.UInt16();
        if (!local.Bytes(nameLength).SequenceEqual(nameBytes) || method != 0)
            throw new InvalidFileException(file.Path, $"the zip entry {name} differs between its local header and the directory");
        ulong unused = 0;
        ReadExtra(new ByteCursor(file, local.Position, Math.Min(dataEnd, local.Position + extraLength), $"the zip entry {name}"), ref localSize, ref stored, ref unused);
        local.Skip((ulong)extraLength);
        // A writer that streams leaves zeros here and gives the sizes behind the data.
        var sizesFollow = (flags & SizesFollowFlag) != 0 && localSize == 0 && stored == 0;
        if (!sizesFollow && (localSize != size || stored != size))
            throw new InvalidFileException(file.Path, $"the zip entry {name} differs between its local header and the directory");
        var data = local.Position;
        local.Skip(size);
        return data;
    }

    private static void CheckName(string path, string name)
    {
        TensorRules.CheckName(path, name);
        if (name[0] == '/' || name.Contains('\\', StringComparison.Ordinal) || name.Contains(':', StringComparison.Ordinal) || name.Split('/').Contains(".."))
            throw new InvalidFileException(path, $"the zip entry {name} has an absolute or climbing path");
    }

    private static void CheckOverlap(MappedFile file, IEnumerable<ZipEntry> entries)
    {
        ZipEntry? previous = null;
        foreach (var entry in entries.OrderBy(e => e.Offset))
        {
            if (previous is { } before && entry.Offset - LocalBytes < before.Offset + before.Length)
                throw new InvalidFileException(file.Path, $"the zip entries {before.Name} and {entry.Name} overlap");
            previous = entry;
        }
    }
}
