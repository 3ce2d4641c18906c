namespace DiTRuntime.Decoding;

/// <summary>
/// How many activations of each shape a decoder holds at once. Shapes are counted per latent position:
/// a tensor at scale s with C channels has s²·C values for each.
/// </summary>
internal sealed class WorkPlan
{
    private readonly Dictionary<(string Kind, int Scale, int Channels), int> _counts = [];

    /// <summary>Values of all tensors together, per latent position.</summary>
    public long ValuesPerPosition => _counts.Sum(entry => entry.Value * Values(entry.Key.Scale, entry.Key.Channels));

    /// <summary>Values of the largest tensor, per latent position.</summary>
    public long LargestPerPosition => _counts.Keys.Max(key => Values(key.Scale, key.Channels));

    /// <summary>Asks for <paramref name="count"/> images [1, s·Y, s·X, C] at once.</summary>
    public void NeedImages(int scale, int channels, int count) => Need("image", scale, channels, count);

    /// <summary>Asks for one sequence [1, Y·X, C].</summary>
    public void NeedSequence(int channels) => Need("sequence", 1, channels, 1);

    private void Need(string kind, int scale, int channels, int count)
    {
        var key = (kind, scale, channels);
        _counts[key] = Math.Max(count, _counts.GetValueOrDefault(key));
    }

    private static long Values(int scale, int channels) => (long)scale * scale * channels;
}
