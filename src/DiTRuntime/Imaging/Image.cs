namespace DiTRuntime.Imaging;

/// <summary>An 8-bit image: grey or RGB, channels last, rows from the top.</summary>
public sealed class Image
{
    /// <param name="width">Columns.</param>
    /// <param name="height">Rows.</param>
    /// <param name="channels">1 (grey) or 3 (RGB).</param>
    /// <param name="pixels">[height, width, channels].</param>
    /// <exception cref="ArgumentException">The extents are not positive, or do not match the pixels.</exception>
    public Image(int width, int height, int channels, byte[] pixels)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(height);
        if (channels is not (1 or 3)) throw new ArgumentException($"{channels} channels: expected 1 or 3", nameof(channels));
        if (pixels.LongLength != (long)width * height * channels)
            throw new ArgumentException($"{pixels.LongLength} bytes for {width}x{height}x{channels}", nameof(pixels));
        Width = width;
        Height = height;
        Channels = channels;
        Pixels = pixels;
    }

    /// <summary>Columns.</summary>
    public int Width { get; }

    /// <summary>Rows.</summary>
    public int Height { get; }

    /// <summary>1 (grey) or 3 (RGB).</summary>
    public int Channels { get; }

    /// <summary>[height, width, channels].</summary>
    public byte[] Pixels { get; }

    /// <summary>The same image in three channels; itself where it has them.</summary>
    public Image ToRgb()
    {
        if (Channels == 3) return this;
        var pixels = new byte[Pixels.Length * 3];
        for (var i = 0; i < pixels.Length; i++) pixels[i] = Pixels[i / 3];
        return new Image(Width, Height, 3, pixels);
    }

    /// <summary>One row: [width, channels].</summary>
    public ReadOnlySpan<byte> Row(int y) => Pixels.AsSpan(y * Width * Channels, Width * Channels);
}
