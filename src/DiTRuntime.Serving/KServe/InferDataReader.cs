using System.Buffers;
using System.Buffers.Binary;
using System.Text.Json;
using DiTRuntime.Checkpoints;
using DiTRuntime.Serving.Http;

namespace DiTRuntime.Serving.KServe;

/// <summary>Reads the JSON data of a tensor, flat or nested as its shape, into the layout of the binary extension.</summary>
internal ref struct InferDataReader
{
    private readonly string _name;
    private readonly InferDatatype _type;
    private readonly ReadOnlySpan<int> _shape;
    private readonly int _count;
    private readonly bool _nested;
    private readonly ArrayBufferWriter<byte> _elements;
    private Utf8JsonReader _reader;
    private int _position;

    private InferDataReader(ReadOnlySpan<byte> json, string name, InferDatatype type, ReadOnlySpan<int> shape, int count)
    {
        (_name, _type, _count) = (name, type, count);
        _shape = shape;
        _reader = new Utf8JsonReader(json);
        _reader.Read();
        if (_reader.TokenType != JsonTokenType.StartArray) throw TensorError.In(name, "data: expected an array");
        // An element takes a byte and a comma at least: what is reserved for the elements is in proportion to the body.
        if (count > json.Length / 2) throw TooFew();
        _elements = new ArrayBufferWriter<byte>(count * type.ByteSize());
        var ahead = _reader;
        ahead.Read();
        _nested = ahead.TokenType == JsonTokenType.StartArray && shape.Length > 1;
    }

    /// <summary>Reads the data.</summary>
    /// <param name="json">The array alone.</param>
    /// <param name="name">The tensor's name.</param>
    /// <param name="type">Its datatype.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="count">Elements of the shape.</param>
    /// <exception cref="ApiException">They are of another type, count or nesting.</exception>
    public static ReadOnlyMemory<byte> Read(ReadOnlySpan<byte> json, string name, InferDatatype type, ReadOnlySpan<int> shape, int count)
    {
        var data = new InferDataReader(json, name, type, shape, count);
        data.ReadLevel(0);
        if (data._position != count) throw data.TooFew();
        return data._elements.WrittenMemory;
    }

    private void ReadLevel(int depth)
    {
        var extent = _nested ? _shape[depth] : _count;
        var deepest = !_nested || depth == _shape.Length - 1;
        var elements = 0;
        while (_reader.Read() && _reader.TokenType != JsonTokenType.EndArray)
        {
            if (++elements > extent) throw TensorError.In(_name, $"data hold more elements than shape {TensorRules.Text(_shape)}");
            if (deepest) ReadElement();
            else if (_reader.TokenType == JsonTokenType.StartArray) ReadLevel(depth + 1);
            else throw TensorError.In(_name, $"data are not nested as shape {TensorRules.Text(_shape)}");
        }

        if (elements < extent) throw TooFew();
    }

    private void ReadElement()
    {
        switch (_type)
        {
            case InferDatatype.Int32 when _reader.TokenType == JsonTokenType.Number && _reader.TryGetInt32(out var number):
                BinaryPrimitives.WriteInt32LittleEndian(_elements.GetSpan(sizeof(int)), number);
                _elements.Advance(sizeof(int));
                break;
            case InferDatatype.Int64 when _reader.TokenType == JsonTokenType.Number && _reader.TryGetInt64(out var number):
                BinaryPrimitives.WriteInt64LittleEndian(_elements.GetSpan(sizeof(long)), number);
                _elements.Advance(sizeof(long));
                break;
            case InferDatatype.Fp32 when _reader.TokenType == JsonTokenType.Number && _reader.TryGetSingle(out var number):
                BinaryPrimitives.WriteSingleLittleEndian(_elements.GetSpan(sizeof(float)), number);
                _elements.Advance(sizeof(float));
                break;
            case InferDatatype.Bytes when _reader.TokenType == JsonTokenType.String:
                var room = _elements.GetSpan(sizeof(int) + _reader.ValueSpan.Length);
                var length = _reader.CopyString(room[sizeof(int)..]);
                BinaryPrimitives.WriteInt32LittleEndian(room, length);
                _elements.Advance(sizeof(int) + length);
                break;
            default:
                throw TensorError.In(_name, $"data: element {_position} is no {_type.Name()}");
        }

        _position++;
    }

    private readonly ApiException TooFew() => TensorError.In(_name, $"data hold fewer elements than shape {TensorRules.Text(_shape)}");
}
