using System.Globalization;
using Microsoft.AspNetCore.Http;

namespace DiTRuntime.Serving.Http;

/// <summary>The fields of a query: a name without a value is absent, of a name that repeats the last counts.</summary>
internal sealed class QueryFields(IQueryCollection query) : FieldReader
{
    /// <inheritdoc/>
    public override string? Text(string field) => query.TryGetValue(field, out var values) && values is [.., { Length: > 0 } last] ? last : null;

    /// <inheritdoc/>
    public override IReadOnlyList<string>? Words(string field) => Text(field) is { } text ? [text] : null;

    /// <inheritdoc/>
    protected override double? ReadNumber(string field)
    {
        if (Text(field) is not { } text) return null;
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) ? value : throw ApiException.WrongType(field, "a number");
    }

    /// <inheritdoc/>
    protected override long? ReadWhole(string field)
    {
        if (Text(field) is not { } text) return null;
        return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) ? value : throw ApiException.WrongType(field, "a whole number");
    }
}
