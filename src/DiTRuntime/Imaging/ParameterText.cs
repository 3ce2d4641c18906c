using System.Globalization;
using System.Text;

namespace DiTRuntime.Imaging;

/// <summary>The text form "Name: value, Name: value": writing and reading.</summary>
public static class ParameterText
{
    /// <summary>Writes fields in order; null values are left out.</summary>
    public static string Format(IEnumerable<(string Name, string? Value)> fields) =>
        string.Join(", ", fields.Where(f => f.Value is not null).Select(f => $"{f.Name}: {Quote(f.Value!)}"));

    /// <summary>Reads fields by name; the first wins where a name repeats.</summary>
    /// <returns>Null when the text is not of this form.</returns>
    public static IReadOnlyDictionary<string, string>? TryParse(string text)
    {
        var fields = new Dictionary<string, string>();
        for (var position = 0; ;)
        {
            var colon = text.IndexOf(": ", position, StringComparison.Ordinal);
            if (colon <= position) return null;
            var name = text[position..colon];
            position = colon + 2;
            string value;
            if (position < text.Length && text[position] == '"')
            {
                if (!TryUnquote(text, ref position, out value)) return null;
            }
            else
            {
                var comma = text.IndexOf(", ", position, StringComparison.Ordinal);
                var end = comma < 0 ? text.Length : comma;
                value = text[position..end];
                position = end;
            }

            fields.TryAdd(name, value);
            if (position == text.Length) return fields;
            if (!text.AsSpan(position).StartsWith(", ")) return null;
            position += 2;
        }
    }

    private static string Quote(string value)
    {
        var isPlain = value.Length > 0 && value.Trim().Length == value.Length && !value.Any(c => c is ',' or '"' || char.IsControl(c));
        if (isPlain) return value;
        var text = new StringBuilder("\"");
        foreach (var c in value)
        {
            if (c is '"' or '\\') text.Append('\\').Append(c);
            else if (char.IsControl(c)) text.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
            else text.Append(c);
        }

        return text.Append('"').ToString();
    }

    // Of JSON's escapes, those that Quote writes.
    private static bool TryUnquote(string text, ref int position, out string value)
    {
        var result = new StringBuilder();
        value = "";
        for (position++; position < text.Length; position++)
        {
            var c = text[position];
            if (c == '"')
            {
                position++;
                value = result.ToString();
                return true;
            }

            if (c != '\\')
            {
                result.Append(c);
                continue;
            }

            if (++position == text.Length) return false;
            if (text[position] != 'u')
            {
                result.Append(text[position]);
                continue;
            }

            if (position + 4 >= text.Length || !ushort.TryParse(text.AsSpan(position + 1, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var code)) return false;
            result.Append((char)code);
            position += 4;
        }

        return false;
    }
}
