using System.Globalization;

namespace DiTRuntime.Cli.Exporting;

/// <summary>Reads sizes as people write them.</summary>
internal static class ByteSize
{
    private static readonly (string Suffix, long Bytes)[] s_units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)];

    /// <summary>Reads a number of megabytes, or a number with a unit: 300, 300MB, 1.5GB.</summary>
    /// <exception cref="UsageException">It is neither, or not above 0.</exception>
    public static long Parse(string option, string text)
    {
        var (number, unit) = (text, 1_000_000L);
        foreach (var (suffix, bytes) in s_units)
        {
            if (!text.EndsWith(suffix, StringComparison.OrdinalIgnoreCase)) continue;
            (number, unit) = (text[..^suffix.Length], bytes);
            break;
        }

        return double.TryParse(number.Trim(), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value) && value * unit is >= 1 and < long.MaxValue
            ? (long)(value * unit)
            : throw new UsageException($"{option} {text}: expected megabytes, or a size such as 300MB or 1.5GB");
    }
}
