using System.Text;
using System.Text.Json;
using DiTRuntime.Checkpoints;
using DiTRuntime.Serving.Http;

namespace DiTRuntime.Serving.KServe;

/// <summary>The moves that reading a request is made of. Each leaves the reader on the last token of what it has read.</summary>
internal static class InferJson
{
    /// <summary>Longest name of a tensor that is taken, and quoted.</summary>
    private const int MaxNameLength = 64;

    /// <summary>Moves to the next property of the object that the reader is in.</summary>
    /// <returns>False at the object's end.</returns>
    public static bool NextProperty(ref Utf8JsonReader reader) => reader.Read() && reader.TokenType == JsonTokenType.PropertyName;

    /// <summary>Moves to the next element of the array that the reader is in.</summary>
    /// <param name="place">The array's name.</param>
    /// <param name="count">Elements so far.</param>
    /// <param name="most">Elements that are allowed.</param>
    /// <returns>False at the array's end.</returns>
    public static bool NextElement(ref Utf8JsonReader reader, string place, int count, int most)
    {
        reader.Read();
        if (reader.TokenType == JsonTokenType.EndArray) return false;
        return count < most ? true : throw TensorError.In(place, $"more than {most} elements");
    }

    /// <summary>The reader must be at an object's start.</summary>
    public static void ExpectObject(ref Utf8JsonReader reader, string place)
    {
        if (reader.TokenType != JsonTokenType.StartObject) throw TensorError.In(place, "expected a JSON object");
    }

    /// <summary>Skips the value of a property.</summary>
    public static void SkipValue(ref Utf8JsonReader reader)
    {
        reader.Read();
        reader.Skip();
    }

    /// <summary>Enters an array that is a property's value.</summary>
    public static void ReadArrayStart(ref Utf8JsonReader reader, string place)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray) throw TensorError.In(place, "expected an array");
    }

    /// <summary>A property's value as text.</summary>
    public static string ReadText(ref Utf8JsonReader reader, string place)
    {
        reader.Read();
        return reader.TokenType == JsonTokenType.String ? reader.GetString()! : throw TensorError.In(place, "expected a string");
    }

    /// <summary>A tensor's name.</summary>
    public static string ReadName(ref Utf8JsonReader reader, string place)
    {
        var name = ReadText(ref reader, $"{place}.name");
        if (name.Length is 0 or > MaxNameLength) throw TensorError.In($"{place}.name", $"{name.Length} characters, expected 1 to {MaxNameLength}");
        return TensorRules.Printable(name);
    }

    /// <summary>A flag of an object that is a property's value; null where the object has no such flag.</summary>
    public static bool? ReadFlag(ref Utf8JsonReader reader, string place, ReadOnlySpan<byte> name)
    {
        bool? flag = null;
        reader.Read();
        ExpectObject(ref reader, $"{place}.parameters");
        while (NextProperty(ref reader))
        {
            var wanted = reader.ValueTextEquals(name);
            reader.Read();
            if (wanted)
                flag = reader.TokenType is JsonTokenType.True or JsonTokenType.False
                    ? reader.GetBoolean()
                    : throw TensorError.In($"{place}.parameters", $"{Encoding.ASCII.GetString(name)}: expected true or false");
            reader.Skip();
        }

        return flag;
    }
}

/// <summary>Refuses a property that an object has twice: readers differ in which of the two they believe.</summary>
/// <param name="place">The object's name.</param>
internal readonly struct DistinctProperties(string place)
{
    private readonly List<string> _seen = [];

    /// <summary>Notes a property.</summary>
    /// <exception cref="ApiException">It was there before.</exception>
    public void Add(string property)
    {
        if (_seen.Contains(property)) throw TensorError.In(place, $"{property} occurs twice");
        _seen.Add(property);
    }
}
