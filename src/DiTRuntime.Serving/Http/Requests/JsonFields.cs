using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace DiTRuntime.Serving.Http;

/// <summary>The fields of a JSON object.</summary>
internal sealed class JsonFields : FieldReader
{
    private static readonly JsonDocumentOptions s_options = new() { MaxDepth = 16 };

    private readonly JsonElement _root;

    /// <param name="root">An object.</param>
    /// <exception cref="ApiException">It is none.</exception>
    public JsonFields(JsonElement root)
    {
        if (root.ValueKind != JsonValueKind.Object) throw new ApiException(400, "invalid_json", $"expected a JSON object, found {Kind(root)}");
        _root = root;
    }

    /// <summary>Reads the body of a request and hands its fields over.</summary>
    /// <exception cref="ApiException">It is of another content type, or no JSON object.</exception>
    public static async Task<T> ReadAsync<T>(HttpContext context, Func<JsonFields, T> read)
    {
        if (!context.Request.HasJsonContentType()) throw new ApiException(415, "unsupported_media_type", "expected a body of content type application/json");
        try
        {
            using var document = await JsonDocument.ParseAsync(context.Request.Body, s_options, context.RequestAborted);
            return read(new JsonFields(document.RootElement));
        }
        catch (JsonException e)
        {
            throw new ApiException(400, "invalid_json", $"the body is not JSON: {e.Message}");
        }
        catch (IOException e) when (e is not BadHttpRequestException)
        {
            throw ApiException.BrokenBody();
        }
    }

    /// <inheritdoc/>
    public override string? Text(string field)
    {
        if (Find(field) is not { } value) return null;
        return value.ValueKind == JsonValueKind.String ? TextOf(value, field) : throw ApiException.WrongType(field, $"a text, found {Kind(value)}");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string>? Words(string field)
    {
        if (Find(field) is not { } value) return null;
        if (value.ValueKind != JsonValueKind.Array) return [Word(value, field)];
        return [.. value.EnumerateArray().Select(item => Word(item, field))];
    }

    /// <inheritdoc/>
    protected override double? ReadNumber(string field)
    {
        if (Find(field) is not { } value) return null;
        return value.ValueKind == JsonValueKind.Number ? value.GetDouble() : throw ApiException.WrongType(field, $"a number, found {Kind(value)}");
    }

    /// <inheritdoc/>
    protected override long? ReadWhole(string field)
    {
        if (Find(field) is not { } value) return null;
        if (value.ValueKind != JsonValueKind.Number) throw ApiException.WrongType(field, $"a whole number, found {Kind(value)}");
        if (value.TryGetInt64(out var whole)) return whole;
        // 50.0 and 5e1 are whole numbers too; what a long does not hold is out of every range.
        var number = value.GetDouble();
        if (number != Math.Floor(number)) throw ApiException.WrongType(field, "a whole number, found a fraction");
        return Math.Abs(number) < 1L << 53 ? (long)number : throw ApiException.OutOfRange(field, value.GetRawText(), "a smaller number");
    }

    private static string Word(JsonElement value, string field) => value.ValueKind switch
    {
        JsonValueKind.String => TextOf(value, field),
        JsonValueKind.Number => value.GetRawText(),
        _ => throw ApiException.WrongType(field, $"a number or a text, or a list of them, found {Kind(value)}"),
    };

    private static string TextOf(JsonElement value, string field)
    {
        try
        {
            return value.GetString()!;
        }
        catch (InvalidOperationException)
        {
            // Half of a surrogate pair, or bytes that are not UTF-8.
            throw ApiException.WrongType(field, "a text of whole characters");
        }
    }

    private static string Kind(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "a list",
        JsonValueKind.String => "a text",
        JsonValueKind.Number => "a number",
        JsonValueKind.True or JsonValueKind.False => "true or false",
        _ => "null",
    };

    private JsonElement? Find(string field) => _root.TryGetProperty(field, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;
}
