namespace DiTRuntime.Imaging;

/// <summary>How a decoded value becomes a byte.</summary>
public enum PixelRounding
{
    /// <summary>clamp(127.5·x + 128, 0, 255), truncated: the published sampling script.</summary>
    Truncate,

    /// <summary>clamp(x/2 + ½, 0, 1)·255, rounded to even: diffusers.</summary>
    Nearest,
}

/// <summary>Decoded values to pixels.</summary>
public static class PixelConversion
{
    /// <summary>Converts an image of floats.</summary>
    /// <param name="values">[height, width, channels], nominally in [−1, 1]; what lies outside is clamped, NaN is black.</param>
    /// <param name="width">Columns.</param>
    /// <param name="height">Rows.</param>
    /// <param name="channels">1 or 3.</param>
    /// <param name="rounding">Which implementation's bytes to produce.</param>
    public static Image ToImage(ReadOnlySpan<float> values, int width, int height, int channels, PixelRounding rounding = PixelRounding.Truncate)
    {
        var pixels = new byte[values.Length];
        ToBytes(values, pixels, rounding);
        return new Image(width, height, channels, pixels);
    }

    /// <summary>Converts values one by one, in single precision as the implementations do.</summary>
    /// <param name="values">Nominally in [−1, 1].</param>
    /// <param name="rounding">Which implementation's bytes to produce.</param>
    /// <param name="bytes">As many as values.</param>
    public static void ToBytes(ReadOnlySpan<float> values, Span<byte> bytes, PixelRounding rounding)
    {
        if (bytes.Length != values.Length) throw new ArgumentException($"{bytes.Length} bytes for {values.Length} values", nameof(bytes));
        // Conversions from float saturate, and take NaN to 0.
        if (rounding == PixelRounding.Truncate)
        {
            for (var i = 0; i < values.Length; i++) bytes[i] = (byte)Math.Clamp(127.5f * values[i] + 128f, 0f, 255f);
        }
        else
        {
            for (var i = 0; i < values.Length; i++)
                bytes[i] = (byte)MathF.Round(Math.Clamp(values[i] / 2 + 0.5f, 0f, 1f) * 255f, MidpointRounding.ToEven);
        }
    }
}
