using System.Buffers.Binary;
using System.Text.Json;
using DiTRuntime.Checkpoints;
using DiTRuntime.Serving.Http;

namespace DiTRuntime.Serving.KServe;

/// <summary>Reads one input tensor and its data, from JSON or from the binary part.</summary>
internal ref struct InferTensorReader
{
    private readonly string _place;
    private string? _name;
    private string? _datatype;
    private int[]? _shape;
    private long? _binarySize;
    private ReadOnlySpan<byte> _data;

    private InferTensorReader(string place) => _place = place;

    /// <summary>Reads a tensor.</summary>
    /// <param name="reader">At the start of its object; afterwards at its end.</param>
    /// <param name="json">All that the reader reads.</param>
    /// <param name="place">What to call the tensor before its name is known.</param>
    /// <param name="binary">What is left of the binary part; shortened by what the tensor takes.</param>
    /// <exception cref="ApiException">It is malformed, or its data do not fit its shape.</exception>
    public static InferTensor Read(ref Utf8JsonReader reader, ReadOnlySpan<byte> json, string place, ref ReadOnlyMemory<byte> binary)
    {
        var tensor = new InferTensorReader(place);
        tensor.ReadObject(ref reader, json);
        return tensor.Finish(ref binary);
    }

    private void ReadObject(ref Utf8JsonReader reader, ReadOnlySpan<byte> json)
    {
        InferJson.ExpectObject(ref reader, _place);
        var properties = new DistinctProperties(_place);
        while (InferJson.NextProperty(ref reader))
        {
            if (reader.ValueTextEquals("name"u8))
            {
                properties.Add("name");
                _name = InferJson.ReadName(ref reader, _place);
            }
            else if (reader.ValueTextEquals("datatype"u8))
            {
                properties.Add("datatype");
                _datatype = InferJson.ReadText(ref reader, $"{_name ?? _place}.datatype");
            }
            else if (reader.ValueTextEquals("shape"u8))
            {
                properties.Add("shape");
                ReadShape(ref reader);
            }
            else if (reader.ValueTextEquals("parameters"u8))
            {
                properties.Add("parameters");
                ReadParameters(ref reader);
            }
            else if (reader.ValueTextEquals("data"u8))
            {
                // The datatype and the shape may come after the data: they are read when all is known.
                properties.Add("data");
                reader.Read();
                var begin = (int)reader.TokenStartIndex;
                reader.Skip();
                _data = json[begin..(int)reader.BytesConsumed];
            }
            else
            {
                InferJson.SkipValue(ref reader);
            }
        }
    }

    private void ReadShape(ref Utf8JsonReader reader)
    {
        var place = $"{_name ?? _place}.shape";
        InferJson.ReadArrayStart(ref reader, place);
        var shape = new List<int>(TensorRules.MaxRank);
        while (InferJson.NextElement(ref reader, place, shape.Count, TensorRules.MaxRank))
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt32(out var extent) || extent <= 0)
                throw TensorError.In(place, $"element {shape.Count}: expected a whole number from 1 to {int.MaxValue}");
            shape.Add(extent);
        }

        _shape = [.. shape];
    }

    private void ReadParameters(ref Utf8JsonReader reader)
    {
        var place = $"{_name ?? _place}.parameters";
        reader.Read();
        InferJson.ExpectObject(ref reader, place);
        while (InferJson.NextProperty(ref reader))
        {
            var isSize = reader.ValueTextEquals("binary_data_size"u8);
            reader.Read();
            if (isSize)
            {
                if (_binarySize is not null) throw TensorError.In(place, "binary_data_size occurs twice");
                if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out var size) || size < 0)
                    throw TensorError.In(_name ?? _place, "binary_data_size: expected a number of bytes");
                _binarySize = size;
            }

            reader.Skip();
        }
    }

    private readonly InferTensor Finish(ref ReadOnlyMemory<byte> binary)
    {
        var name = _name ?? throw TensorError.In(_place, "no name");
        if (_datatype is null) throw TensorError.In(name, "no datatype");
        var type = InferDatatypes.OfInput(_datatype)
            ?? throw TensorError.In(name, $"datatype {TensorRules.Printable(_datatype, 16)}, expected INT32, INT64, FP32 or BYTES");
        if (_shape is null) throw TensorError.In(name, "no shape");
        var count = ElementCount(name, type);
        if (_binarySize is null)
            return _data.IsEmpty
                ? throw TensorError.In(name, "neither data nor binary_data_size")
                : new InferTensor(name, type, _shape, InferDataReader.Read(_data, name, type, _shape, count));
        if (!_data.IsEmpty) throw TensorError.In(name, "both data and binary_data_size");
        if (_binarySize > binary.Length) throw TensorError.In(name, $"binary_data_size {_binarySize}, but {binary.Length} bytes are left of the body");
        var data = binary[..(int)_binarySize];
        binary = binary[data.Length..];
        CheckBinary(name, type, count, data.Span);
        return new InferTensor(name, type, _shape, data);
    }

    private readonly int ElementCount(string name, InferDatatype type)
    {
        long count = 1;
        foreach (var extent in _shape!)
        {
            // Below 2^31 elements before each product, which therefore stays below 2^62.
            count *= extent;
            if (count * type.ByteSize() > int.MaxValue) throw TensorError.In(name, $"shape {TensorRules.Text<int>(_shape)} is larger than any body");
        }

        return (int)count;
    }

    private readonly void CheckBinary(string name, InferDatatype type, int count, ReadOnlySpan<byte> data)
    {
        if (type != InferDatatype.Bytes)
        {
            var expected = count * type.ByteSize();
            if (data.Length != expected)
                throw TensorError.In(name, $"binary_data_size {data.Length}, but {type.Name()} {TensorRules.Text<int>(_shape)} takes {expected} bytes");
            return;
        }

        for (var i = 0; i < count; i++)
        {
            if (data.Length < sizeof(int)) throw TensorError.In(name, $"the data end before the length of element {i}");
            var length = BinaryPrimitives.ReadUInt32LittleEndian(data);
            data = data[sizeof(int)..];
            if (length > data.Length) throw TensorError.In(name, $"element {i} has {length} bytes, but {data.Length} are left");
            data = data[(int)length..];
        }

        if (!data.IsEmpty) throw TensorError.In(name, $"{data.Length} bytes follow the last element");
    }
}
