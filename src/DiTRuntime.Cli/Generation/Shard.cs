using System.Globalization;

namespace DiTRuntime.Cli.Generation;

/// <summary>One of n parts of a run: images i − 1, i − 1 + n, i − 1 + 2n, …</summary>
/// <remarks>Also written "k+1/n", with k from 0: what counts its tasks from zero (a job's completion index) needs no shell to add one.</remarks>
/// <param name="Number">i, from 1.</param>
/// <param name="Total">n.</param>
internal readonly record struct Shard(int Number, int Total)
{
    private const string FromZero = "+1";

    /// <summary>Everything.</summary>
    public static Shard Whole { get; } = new(1, 1);

    /// <summary>Reads "i/n", or "k+1/n".</summary>
    /// <exception cref="UsageException">Another form, or i outside 1 to n.</exception>
    public static Shard Parse(string text)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        var number = text.AsSpan(0, Math.Max(slash, 0));
        var countsFromZero = number.EndsWith(FromZero);
        if (countsFromZero) number = number[..^FromZero.Length];
        if (TryRead(number, out var i) && TryRead(text.AsSpan(slash + 1), out var total))
        {
            var first = countsFromZero ? 0 : 1;
            if (i >= first && i - first < total) return new Shard(i - first + 1, total);
        }

        throw new UsageException($"--shard {text}: expected i/n with i from 1 to n, such as 1/4, or k+1/n with k from 0");
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

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Number}/{Total}");

    private static bool TryRead(ReadOnlySpan<char> text, out int value) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
}
