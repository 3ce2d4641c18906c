using System.Numerics;

namespace DiTRuntime.Checkpoints;

/// <summary>
/// Reads GGUF version 3 with plain elements (F32, F16, BF16 and integers). Quantized blocks are refused by name. Dimensions are turned into
/// the order of PyTorch, the fastest last.
/// </summary>
internal static class GgufFile
{
    private const uint Version = 3;
    private const uint BigEndianVersion = 0x0300_0000;
    private const int MaxNameBytes = 64;
    private const uint MaxRank = 4;
    private const ulong DefaultAlignment = 32;
    private const uint StringType = 8;
    private const uint ArrayType = 9;
    private const string AlignmentKey = "general.alignment";

    // What the smallest entry takes: name length, one character, then the fixed fields.
    private const ulong MinTensorBytes = 8 + 1 + 4 + 4 + 8;
    private const ulong MinFactBytes = 8 + 4 + 1;

    /// <exception cref="InvalidFileException">Anything about the file is wrong.</exception>
    public static ICheckpoint Open(string path) => CheckpointFile.Open(path, Read);

    private static CheckpointFile Read(MappedFile file)
    {
        var cursor = new ByteCursor(file, 4, file.Length, "the GGUF header");
        var version = cursor.UInt32();
        if (version == BigEndianVersion) throw new InvalidFileException(file.Path, "the GGUF file is big-endian");
        if (version != Version) throw new InvalidFileException(file.Path, $"the GGUF file has version {version}; {Version} was expected");
        var tensorCount = cursor.UInt64();
        var factCount = cursor.UInt64();
        if (tensorCount > (ulong)cursor.Remaining / MinTensorBytes || factCount > (ulong)cursor.Remaining / MinFactBytes)
            throw new InvalidFileException(file.Path, $"the GGUF header claims {tensorCount} tensors and {factCount} key-values, more than {cursor.Remaining} bytes hold");
        TensorRules.CheckTensorCount(file.Path, tensorCount);
        TensorRules.CheckTensorCount(file.Path, factCount);
        var facts = ReadFacts(file.Path, ref cursor, (int)factCount);
        var alignment = Alignment(file.Path, facts);
        var entries = new List<(string Name, ElementType Type, int[] Shape, int ByteCount, ulong Offset)>((int)tensorCount);
        for (var i = 0; i < (int)tensorCount; i++) entries.Add(ReadEntry(file.Path, ref cursor));
        var dataStart = (cursor.Position + (long)alignment - 1) / (long)alignment * (long)alignment;
        return new CheckpointFile(file.Path, "GGUF v3", Locate(file, entries, dataStart, alignment), facts, file);
    }

    private static List<CheckpointTensor> Locate(
        MappedFile file, List<(string Name, ElementType Type, int[] Shape, int ByteCount, ulong Offset)> entries, long dataStart, ulong alignment)
    {
        var tensors = new List<CheckpointTensor>(entries.Count);
        ulong end = 0;
        foreach (var (name, type, shape, byteCount, offset) in entries.OrderBy(e => e.Offset))
        {
            if (offset % alignment != 0) throw new InvalidFileException(file.Path, $"tensor {name}: the offset {offset} is no multiple of the alignment {alignment}");
            if (offset < end) throw new InvalidFileException(file.Path, $"tensor {name}: the offset {offset} overlaps the tensor before, which ends at {end}");
            var present = (ulong)Math.Max(0, file.Length - dataStart);
            if (offset > present || (ulong)byteCount > present - offset)
                throw new InvalidFileException(file.Path, $"truncated: tensor {name} takes {byteCount} bytes at offset {offset}, the file holds {present} of data");
            tensors.Add(new CheckpointTensor(file, name, type, shape, dataStart + (long)offset));
            end = offset + (ulong)byteCount;
        }

        return tensors;
    }

    private static (string Name, ElementType Type, int[] Shape, int ByteCount, ulong Offset) ReadEntry(string path, ref ByteCursor cursor)
    {
        var nameBytes = cursor.UInt64();
        if (nameBytes > MaxNameBytes) throw new InvalidFileException(path, $"a tensor's name has {nameBytes} bytes; GGUF allows {MaxNameBytes}");
        var name = cursor.Text((long)nameBytes);
        TensorRules.CheckName(path, name);
        var rank = cursor.UInt32();
        if (rank > MaxRank) throw new InvalidFileException(path, $"tensor {name} has {rank} dimensions; GGUF allows {MaxRank}");
        Span<long> shape = stackalloc long[(int)rank];
        for (var i = shape.Length - 1; i >= 0; i--)
        {
            var extent = cursor.UInt64();
            if (extent > long.MaxValue) throw new InvalidFileException(path, $"tensor {name} has a dimension of {extent}");
            shape[i] = (long)extent;
        }

        var type = TypeOf(path, name, cursor.UInt32());
        var (extents, byteCount) = TensorRules.CheckShape(path, name, type, shape);
        return (name, type, extents, byteCount, cursor.UInt64());
    }

    private static ElementType TypeOf(string path, string name, uint type) => type switch
    {
        0 => ElementType.F32,
        1 => ElementType.F16,
        24 => ElementType.I8,
        25 => ElementType.I16,
        26 => ElementType.I32,
        27 => ElementType.I64,
        28 => ElementType.F64,
        30 => ElementType.BF16,
        _ => throw new InvalidFileException(path, $"tensor {name} has the GGUF type {TypeName(type)}, which is not supported; supported: F32, F16, BF16, F64 and integers"),
    };

    private static string TypeName(uint type) => type switch
    {
        2 => "Q4_0",
        3 => "Q4_1",
        6 => "Q5_0",
        7 => "Q5_1",
        8 => "Q8_0",
        >= 10 and <= 15 => $"Q{type - 8}_K",
        20 => "IQ4_NL",
        23 => "IQ4_XS",
        >= 16 and <= 22 => $"IQ ({type})",
        _ => $"number {type}",
    };

    private static Dictionary<string, string> ReadFacts(string path, ref ByteCursor cursor, int count)
    {
        var facts = new Dictionary<string, string>(StringComparer.Ordinal);
        ulong textBytes = 0;
        for (var i = 0; i < count; i++)
        {
            var keyBytes = cursor.UInt64();
            if (keyBytes > TensorRules.MaxNameLength) throw new InvalidFileException(path, $"a GGUF key has {keyBytes} bytes; at most {TensorRules.MaxNameLength} are read");
            var key = cursor.Text((long)keyBytes);
            var value = ReadValue(path, ref cursor, key, ref textBytes);
            if (!facts.TryAdd(key, value)) throw new InvalidFileException(path, $"the GGUF key {TensorRules.Printable(key)} occurs twice");
        }

        return facts;
    }

    private static string ReadValue(string path, ref ByteCursor cursor, string key, ref ulong textBytes)
    {
        var type = cursor.UInt32();
        switch (type)
        {
            case StringType:
                var length = cursor.UInt64();
                if (length > TensorRules.MaxMetadataBytes - textBytes)
                    throw new InvalidFileException(path, $"the GGUF key {TensorRules.Printable(key)} claims a text of {length} bytes; at most {TensorRules.MaxMetadataBytes >> 20} MiB of texts are read");
                textBytes += length;
                return cursor.Text((long)length);
            case ArrayType:
                var elementType = cursor.UInt32();
                var count = cursor.UInt64();
                SkipArray(path, ref cursor, key, elementType, count);
                return $"[{count} values]";
            default:
                return Scalar(path, ref cursor, key, type);
        }
    }

    private static void SkipArray(string path, ref ByteCursor cursor, string key, uint elementType, ulong count)
    {
        if (elementType == StringType)
        {
            // Each text takes at least its length, so the walk ends with the file.
            for (ulong i = 0; i < count; i++) cursor.Skip(cursor.UInt64());
            return;
        }

        var size = ScalarBytes(path, key, elementType);
        if (count > (ulong)cursor.Remaining / size)
            throw new InvalidFileException(path, $"the GGUF key {TensorRules.Printable(key)} claims {count} values, more than the file holds");
        cursor.Skip(count * size);
    }

    private static string Scalar(string path, ref ByteCursor cursor, string key, uint type) => type switch
    {
        0 => cursor.Byte().ToString(),
        1 => ((sbyte)cursor.Byte()).ToString(),
        2 => cursor.UInt16().ToString(),
        3 => ((short)cursor.UInt16()).ToString(),
        4 => cursor.UInt32().ToString(),
        5 => ((int)cursor.UInt32()).ToString(),
        6 => BitConverter.UInt32BitsToSingle(cursor.UInt32()).ToString(),
        7 => cursor.Byte() == 0 ? "false" : "true",
        10 => cursor.UInt64().ToString(),
        11 => ((long)cursor.UInt64()).ToString(),
        12 => BitConverter.UInt64BitsToDouble(cursor.UInt64()).ToString(),
        _ => throw UnknownType(path, key, type),
    };

    private static ulong ScalarBytes(string path, string key, uint type) => type switch
    {
        0 or 1 or 7 => 1,
        2 or 3 => 2,
        4 or 5 or 6 => 4,
        10 or 11 or 12 => 8,
        _ => throw UnknownType(path, key, type),
    };

    private static ulong Alignment(string path, Dictionary<string, string> facts)
    {
        if (!facts.TryGetValue(AlignmentKey, out var text)) return DefaultAlignment;
        return ulong.TryParse(text, out var alignment) && BitOperations.IsPow2(alignment) && alignment is >= 8 and <= 1 << 20
            ? alignment
            : throw new InvalidFileException(path, $"{AlignmentKey} is {TensorRules.Printable(text)}; a power of two from 8 was expected");
    }

    private static InvalidFileException UnknownType(string path, string key, uint type) =>
        new(path, $"the GGUF key {TensorRules.Printable(key)} has the unknown type {type}");
}
