using System.Globalization;

namespace DiTRuntime.Cli.Generation;

/// <summary>One of n parts of a run: images i − 1, i − 1 + n, i − 1 + 2n, …</summary>
/// <param name="Number">i, from 1.</param>
/// <param name="Total">n.</param>
internal readonly record struct Shard(int Number, int Total)
{
    /// <summary>Everything.</summary>
    public static Shard Whole { get; } = new(1, 1);

    /// <summary>Reads "i/n".</summary>
    /// <exception cref="UsageException">Another form, or i outside 1 to n.</exception>
    public static Shard Parse(string text)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        if (slash > 0 && TryRead(text.AsSpan(0, slash), out var number) && TryRead(text.AsSpan(slash + 1), out var total) && number >= 1 && number <= total)
            return new Shard(number, total);
        throw new UsageException($"--shard {text}: expected i/n with i from 1 to n, such as 1/4");
    }

    /// <summary>The images of this part.</summary>
    /// <param name="count">Images of the whole run.</param>
    /// <exception cref="UsageException">There is none.</exception>
    public int[] Images(int count)
    {
        if (Number > count) throw new UsageException($"--shard {Number}/{Total}: a run of {count} image{(count == 1 ? "" : "s")} leaves nothing for it");
        var images = new int[(count - Number) / Total + 1];
        for (var k = 0; k < images.Length; k++) images[k] = Number - 1 + k * Total;
        return images;
    }

    private static bool TryRead(ReadOnlySpan<char> text, out int value) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
}
