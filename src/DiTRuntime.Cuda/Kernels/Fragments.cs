namespace DiTRuntime.Cuda.Kernels;

/// <summary>The order in which tensor cores read a record, and the form of its corrections.</summary>
internal static class Fragments
{
    /// <summary>A number as {high, low, high}: two halves whose sum has 22 bits of it.</summary>
    /// <returns>False where it is beyond the range of a half.</returns>
    public static bool TrySplit(float v, Span<Half> three)
    {
        var high = (Half)v;
        (three[0], three[1], three[2]) = (high, (Half)(v - (float)high), high);
        return Half.IsFinite(high);
    }

    /// <summary>Rows of 32-byte steps as bytes: halves, or codes of a byte.</summary>
    public static void WriteWords(ReadOnlySpan<uint> rows, int steps, Span<uint> target)
    {
        var rowWords = steps * 8;
        for (var step = 0; step < steps; step++)
        {
            for (var r = 0; r < 8; r++)
            {
                var upper = rows.Slice(r * rowWords + step * 8, 8);
                var lower = rows.Slice((r + 8) * rowWords + step * 8, 8);
                var lanes = target.Slice((step * 32 + r * 4) * 4, 16);
                for (var t = 0; t < 4; t++)
                {
                    lanes[4 * t] = upper[t];
                    lanes[4 * t + 1] = upper[t + 4];
                    lanes[4 * t + 2] = lower[t];
                    lanes[4 * t + 3] = lower[t + 4];
                }
            }
        }
    }
}
