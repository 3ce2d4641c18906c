namespace DiTRuntime.Quantization;

/// <summary>
/// The arithmetic of quantized activations, in its plain form; every backend gives these codes for these inputs.
/// s = (max − min)/255 with 0 in the range, Z = round(−min/s), q = clamp(round(x/s) + Z, 0, 255) (Q-DiT, Chen et al. 2024, equation 1).
/// </summary>
/// <remarks>All in fp32; divisions by s are products with 1/s; halves round to even.</remarks>
public static class ActivationQuantizer
{
    /// <summary>The largest code.</summary>
    public const int MaxCode = 255;

    /// <summary>A narrower range is widened to this, so that a constant group has a scale.</summary>
    public const float SmallestRange = 1e-5f;

    /// <summary>Scale and zero point of a range.</summary>
    /// <param name="min">Smallest value of the group.</param>
    /// <param name="max">Largest value of the group.</param>
    public static (float Scale, byte Zero) Range(float min, float max)
    {
        min = MathF.Min(min, 0);
        max = MathF.Max(max, 0);
        var scale = MathF.Max(max - min, SmallestRange) / MaxCode;
        var zero = MathF.Round(-min * (1 / scale));
        return (scale, (byte)Math.Clamp(zero, 0, MaxCode));
    }

    /// <summary>Quantizes one row.</summary>
    /// <param name="row">x [K].</param>
    /// <param name="format">Groups, and ranges where they are fixed.</param>
    /// <param name="codes">q [K].</param>
    /// <param name="scales">s [G].</param>
    /// <param name="zeros">Z [G].</param>
    public static void Quantize(ReadOnlySpan<float> row, ActivationFormat format, Span<byte> codes, Span<float> scales, Span<byte> zeros)
    {
        var grid = format.Grid(row.Length);
        for (var g = 0; g < grid.Count; g++)
        {
            var x = row.Slice(grid.Start(g), grid.Length(g));
            (scales[g], zeros[g]) = format.StaticScales is { } fixedScales ? (fixedScales[g], format.StaticZeros![g]) : Range(Min(x), Max(x));
            var (inverse, zero) = (1 / scales[g], zeros[g]);
            for (var i = 0; i < x.Length; i++)
                codes[grid.Start(g) + i] = (byte)Math.Clamp(MathF.Round(x[i] * inverse) + zero, 0, MaxCode);
        }
    }

    private static float Min(ReadOnlySpan<float> values)
    {
        var min = values[0];
        foreach (var value in values) min = MathF.Min(min, value);
        return min;
    }

    private static float Max(ReadOnlySpan<float> values)
    {
        var max = values[0];
        foreach (var value in values) max = MathF.Max(max, value);
        return max;
    }
}
