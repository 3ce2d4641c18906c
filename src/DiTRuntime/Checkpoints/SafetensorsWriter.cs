using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace DiTRuntime.Checkpoints;

/// <summary>A tensor to be written: name, element type and shape.</summary>
public sealed record TensorDescription(string Name, ElementType Type, IReadOnlyList<int> Shape)
{
    /// <summary>Number of elements.</summary>
    public long Count => Shape.Aggregate(1L, (product, extent) => checked(product * extent));

    /// <summary>Bytes of the elements.</summary>
    public long ByteCount => checked(Count * Type.ByteSize());
}

/// <summary>Writes safetensors to a stream, header first, then one tensor after the other; nothing is held in memory.</summary>
public static class SafetensorsWriter
{
    /// <summary>The data begin at a multiple of this, so that mapped elements are aligned.</summary>
    private const int Alignment = 8;

    private static readonly JsonWriterOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Writes a file.</summary>
    /// <param name="stream">A seekable stream; see <see cref="AtomicFile.Write"/>.</param>
    /// <param name="metadata">String facts for <c>__metadata__</c>; none are written when empty.</param>
    /// <param name="tensors">The tensors; they are written with the larger elements first, then by name.</param>
    /// <param name="writeElements">Called once per tensor in that order; writes exactly its bytes, row-major and little-endian.</param>
    /// <exception cref="ArgumentException">Two tensors share a name.</exception>
    /// <exception cref="InvalidOperationException">The callback wrote another number of bytes than the tensor has.</exception>
    public static void Write(
        Stream stream, IReadOnlyDictionary<string, string> metadata, IReadOnlyList<TensorDescription> tensors, Action<TensorDescription, Stream> writeElements)
    {
        var places = Reserve(stream, metadata, tensors);
        foreach (var tensor in places.Tensors) places.Write(tensor, output => writeElements(tensor, output));
    }

    /// <summary>Writes the header and leaves room for the tensors, to be filled in any order.</summary>
    /// <param name="stream">A seekable stream; see <see cref="AtomicFile.Write"/>.</param>
    /// <param name="metadata">String facts for <c>__metadata__</c>; none are written when empty.</param>
    /// <param name="tensors">The tensors; they lie with the larger elements first, then by name.</param>
    /// <exception cref="ArgumentException">Two tensors share a name.</exception>
    public static SafetensorsPlaces Reserve(Stream stream, IReadOnlyDictionary<string, string> metadata, IReadOnlyList<TensorDescription> tensors)
    {
        TensorDescription[] ordered = [.. tensors.OrderByDescending(t => t.Type.ByteSize()).ThenBy(t => t.Name, StringComparer.Ordinal)];
        if (ordered.DistinctBy(t => t.Name).Count() != ordered.Length) throw new ArgumentException("two tensors share a name", nameof(tensors));
        var header = Header(metadata, ordered);
        Span<byte> length = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)header.Length);
        stream.Write(length);
        stream.Write(header);
        return new SafetensorsPlaces(stream, ordered);
    }

    /// <summary>Writes small tensors that are in memory.</summary>
    /// <param name="stream">A seekable stream.</param>
    /// <param name="metadata">String facts.</param>
    /// <param name="tensors">The tensors with their values.</param>
    public static void Write(Stream stream, IReadOnlyDictionary<string, string> metadata, IReadOnlyList<TensorValues> tensors)
    {
        var byName = tensors.ToDictionary(t => t.Description.Name, StringComparer.Ordinal);
        Write(stream, metadata, [.. tensors.Select(t => t.Description)], (tensor, output) => output.Write(byName[tensor.Name].Bytes.Span));
    }

    private static byte[] Header(IReadOnlyDictionary<string, string> metadata, TensorDescription[] tensors)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, s_json))
        {
            json.WriteStartObject();
            if (metadata.Count > 0)
            {
                json.WriteStartObject("__metadata__");
                foreach (var (key, value) in metadata.OrderBy(fact => fact.Key, StringComparer.Ordinal)) json.WriteString(key, value);
                json.WriteEndObject();
            }

            long offset = 0;
            foreach (var tensor in tensors)
            {
                json.WriteStartObject(tensor.Name);
                json.WriteString("dtype", SafetensorsTypes.Name(tensor.Type));
                WriteList(json, "shape", tensor.Shape.Select(extent => (long)extent));
                WriteList(json, "data_offsets", [offset, offset + tensor.ByteCount]);
                json.WriteEndObject();
                offset += tensor.ByteCount;
            }

            json.WriteEndObject();
        }

        while (buffer.Length % Alignment != 0) buffer.WriteByte((byte)' ');
        return buffer.ToArray();
    }

    private static void WriteList(Utf8JsonWriter json, string name, IEnumerable<long> values)
    {
        json.WriteStartArray(name);
        foreach (var value in values) json.WriteNumberValue(value);
        json.WriteEndArray();
    }
}
