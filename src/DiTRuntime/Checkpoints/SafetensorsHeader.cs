using System.Text.Json;

namespace DiTRuntime.Checkpoints;

/// <summary>One tensor as a safetensors header describes it; offsets are relative to the data.</summary>
internal readonly record struct SafetensorsEntry(string Name, ElementType Type, long[] Shape, long Begin, long End);

/// <summary>The JSON header of a safetensors file, read in one pass from the mapped bytes.</summary>
internal sealed class SafetensorsHeader
{
    private const string MetadataKey = "__metadata__";

    private readonly string _path;
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);
    private int _metadataBytes;

    private SafetensorsHeader(string path) => _path = path;

    /// <summary>The tensors, in the order of the header.</summary>
    public List<SafetensorsEntry> Entries { get; } = [];

    /// <summary>The string map <c>__metadata__</c>.</summary>
    public Dictionary<string, string> Metadata { get; } = new(StringComparer.Ordinal);

    /// <exception cref="InvalidFileException">The header is not the JSON it should be.</exception>
    public static SafetensorsHeader Parse(string path, ReadOnlySpan<byte> json)
    {
        var header = new SafetensorsHeader(path);
        try
        {
            var reader = new Utf8JsonReader(json);
            reader.Read();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName) header.ReadMember(ref reader);
            // One read past the closing brace: anything but white space there is an error.
            reader.Read();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: an escaped lone surrogate, which is no text.
            throw new InvalidFileException(path, $"the safetensors header is not valid JSON ({TensorRules.Printable(e.Message)})", e);
        }

        return header;
    }

    private void ReadMember(ref Utf8JsonReader reader)
    {
        var name = ReadName(ref reader);
        if (!_names.Add(name)) throw Wrong($"the safetensors header lists {TensorRules.Printable(name)} twice");
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject) throw Wrong($"the safetensors header holds no object for {TensorRules.Printable(name)}");
        if (name == MetadataKey)
        {
            ReadMetadata(ref reader);
            return;
        }

        TensorRules.CheckName(_path, name);
        TensorRules.CheckTensorCount(_path, (ulong)Entries.Count + 1);
        Entries.Add(ReadEntry(ref reader, name));
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = ReadName(ref reader);
            reader.Read();
            if (reader.TokenType != JsonTokenType.String) throw Wrong($"metadata {TensorRules.Printable(key)} is not a string");
            _metadataBytes += reader.ValueSpan.Length + key.Length;
            if (_metadataBytes > TensorRules.MaxMetadataBytes)
                throw Wrong($"the metadata take more than {TensorRules.MaxMetadataBytes >> 20} MiB");
            if (!Metadata.TryAdd(key, reader.GetString()!)) throw Wrong($"metadata {TensorRules.Printable(key)} occurs twice");
            if (Metadata.Count > TensorRules.MaxTensors) throw Wrong($"more than {TensorRules.MaxTensors} metadata entries");
        }
    }

    private SafetensorsEntry ReadEntry(ref Utf8JsonReader reader, string name)
    {
        ElementType? type = null;
        long[]? shape = null;
        long[]? offsets = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("dtype"u8) && type is null) type = ReadType(ref reader, name);
            else if (reader.ValueTextEquals("shape"u8) && shape is null) shape = ReadIntegers(ref reader, name, "shape", TensorRules.MaxRank);
            else if (reader.ValueTextEquals("data_offsets"u8) && offsets is null) offsets = ReadIntegers(ref reader, name, "data_offsets", 2);
            else throw Wrong($"tensor {name}: one each of dtype, shape and data_offsets was expected, found another {TensorRules.Printable(ReadName(ref reader))}");
        }

        if (type is null || shape is null || offsets is not { Length: 2 })
            throw Wrong($"tensor {name}: dtype, shape and two data_offsets were expected");
        return new SafetensorsEntry(name, type.Value, shape, offsets[0], offsets[1]);
    }

    private ElementType ReadType(ref Utf8JsonReader reader, string name)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.String || reader.ValueSpan.Length > 32) throw Wrong($"tensor {name}: the dtype is not a type's name");
        var text = reader.GetString()!;
        return SafetensorsTypes.TryParse(text)
            ?? throw Wrong($"tensor {name} has dtype {TensorRules.Printable(text)}, which is not supported; supported: {SafetensorsTypes.Supported}");
    }

    private long[] ReadIntegers(ref Utf8JsonReader reader, string name, string field, int most)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray) throw Wrong($"tensor {name}: {field} is not a list");
        Span<long> values = stackalloc long[TensorRules.MaxRank];
        var count = 0;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (count == most) throw Wrong($"tensor {name}: {field} has more than {most} numbers");
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out values[count]) || values[count] < 0)
                throw Wrong($"tensor {name}: {field} holds something other than integers from 0 to 2^63-1");
            count++;
        }

        return values[..count].ToArray();
    }

    private string ReadName(ref Utf8JsonReader reader) => reader.ValueSpan.Length <= 6 * TensorRules.MaxNameLength
        ? reader.GetString()!
        : throw Wrong($"a name of {reader.ValueSpan.Length} bytes in the safetensors header; at most {TensorRules.MaxNameLength} are read");

    private InvalidFileException Wrong(string problem) => new(_path, problem);
}
