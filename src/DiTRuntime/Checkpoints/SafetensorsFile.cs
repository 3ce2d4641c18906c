using System.Buffers.Binary;
using System.Text.Unicode;

namespace DiTRuntime.Checkpoints;

/// <summary>
/// Reads safetensors: a 64-bit length, a JSON header of that length, then the tensors' bytes without gaps. A file is checked
/// completely before any tensor is handed out, in the order of the reference implementation.
/// </summary>
internal static class SafetensorsFile
{
    /// <summary>The reference implementation's bound on the header.</summary>
    private const ulong MaxHeaderBytes = 100_000_000;

    private const int LengthBytes = sizeof(ulong);

    /// <exception cref="InvalidFileException">Anything about the file is wrong.</exception>
    public static ICheckpoint Open(string path, bool copies = false) => CheckpointFile.Open(path, Read, copies);

    private static CheckpointFile Read(MappedFile file)
    {
        var headerBytes = HeaderLength(file);
        var json = file.Slice(LengthBytes, headerBytes);
        if (!Utf8.IsValid(json)) throw new InvalidFileException(file.Path, "the safetensors header is not UTF-8 text");
        if (json.IsEmpty || json[0] != '{') throw new InvalidFileException(file.Path, "the safetensors header does not begin with '{'");
        var header = SafetensorsHeader.Parse(file.Path, json);
        return new CheckpointFile(file.Path, "safetensors", Locate(file, header.Entries, LengthBytes + headerBytes), header.Metadata, file);
    }

    private static int HeaderLength(MappedFile file)
    {
        if (file.Length < LengthBytes)
            throw new InvalidFileException(file.Path, $"the file has {file.Length} bytes; a safetensors file begins with a length of {LengthBytes}");
        var length = BinaryPrimitives.ReadUInt64LittleEndian(file.Slice(0, LengthBytes));
        if (length > MaxHeaderBytes)
            throw new InvalidFileException(file.Path, $"the safetensors header claims {length} bytes; at most {MaxHeaderBytes} are allowed");
        if ((long)length > file.Length - LengthBytes)
            throw new InvalidFileException(file.Path, $"truncated: the safetensors header claims {length} bytes, the file has {file.Length - LengthBytes} after the length");
        return (int)length;
    }

    private static List<CheckpointTensor> Locate(MappedFile file, List<SafetensorsEntry> entries, long dataStart)
    {
        entries.Sort((a, b) => (a.Begin, a.End).CompareTo((b.Begin, b.End)));
        var tensors = new List<CheckpointTensor>(entries.Count);
        long end = 0;
        foreach (var entry in entries)
        {
            var where = $"tensor {entry.Name}: data_offsets [{entry.Begin},{entry.End}]";
            if (entry.Begin != end)
                throw new InvalidFileException(file.Path, $"{where} {(entry.Begin < end ? "overlap the tensor before" : "leave a hole")}; {end} was expected as the begin");
            if (entry.End < entry.Begin) throw new InvalidFileException(file.Path, $"{where} end before they begin");
            var (shape, byteCount) = TensorRules.CheckShape(file.Path, entry.Name, entry.Type, entry.Shape);
            if (entry.End - entry.Begin != byteCount)
            {
                throw new InvalidFileException(
                    file.Path, $"{where} span {entry.End - entry.Begin} bytes; {entry.Type} {TensorRules.Text<int>(shape)} takes {byteCount}");
            }

            tensors.Add(new CheckpointTensor(file, entry.Name, entry.Type, shape, dataStart + entry.Begin));
            end = entry.End;
        }

        var present = file.Length - dataStart;
        if (present < end) throw new InvalidFileException(file.Path, $"truncated: the tensors take {end} bytes, the file holds {present} after its header");
        if (present > end) throw new InvalidFileException(file.Path, $"{present - end} bytes follow the last tensor; none were expected");
        return tensors;
    }
}
