using System.Globalization;

namespace DiTRuntime.Serving.Http;

/// <summary>The fields of a request, wherever they stand. A field that is absent or null reads as null; one of the wrong type is refused by name.</summary>
internal abstract class FieldReader
{
    /// <summary>A text.</summary>
    public abstract string? Text(string field);

    /// <summary>A number or a text, or a list of them, as words.</summary>
    public abstract IReadOnlyList<string>? Words(string field);

    /// <summary>A number within bounds.</summary>
    /// <param name="least">The smallest that is allowed.</param>
    /// <param name="most">The largest that is allowed.</param>
    /// <param name="names">Names of the field; the first that is there counts.</param>
    public double? Number(double least, double most, params ReadOnlySpan<string> names)
    {
        foreach (var name in names)
        {
            if (ReadNumber(name) is not { } value) continue;
            return value >= least && value <= most ? value : throw ApiException.OutOfRange(name, Shown(value), $"{Shown(least)} to {Shown(most)}");
        }

        return null;
    }

    /// <summary>A whole number within bounds.</summary>
    /// <inheritdoc cref="Number"/>
    public long? Whole(long least, long most, params ReadOnlySpan<string> names)
    {
        foreach (var name in names)
        {
            if (ReadWhole(name) is not { } value) continue;
            return value >= least && value <= most ? value : throw ApiException.OutOfRange(name, value, $"{least} to {most}");
        }

        return null;
    }

    /// <summary>A number, whatever it is.</summary>
    protected abstract double? ReadNumber(string field);

    /// <summary>A whole number, whatever it is.</summary>
    protected abstract long? ReadWhole(string field);

    private static string Shown(double value) => value.ToString(CultureInfo.InvariantCulture);
}
