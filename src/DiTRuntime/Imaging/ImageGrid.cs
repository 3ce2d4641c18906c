namespace DiTRuntime.Imaging;

/// <summary>Many images on one sheet.</summary>
public static class ImageGrid
{
    /// <summary>Gap between images in the published sample grids, in pixels.</summary>
    public const int DefaultPadding = 2;

    /// <summary>Lays images out row by row, as torchvision's save_image does.</summary>
    /// <remarks>The gap also runs around the sheet; a single image stays as it is. Grey images make a grey sheet.</remarks>
    /// <param name="images">At least one; all of one size and kind.</param>
    /// <param name="columns">Images in a row, at most as many as there are images.</param>
    /// <param name="padding">Gap in pixels.</param>
    /// <param name="background">Value of the gaps and of places left over.</param>
    /// <exception cref="ArgumentException">No images, unequal ones, or a sheet beyond 2 GB.</exception>
    public static Image Compose(IReadOnlyList<Image> images, int columns, int padding = DefaultPadding, byte background = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        ArgumentOutOfRangeException.ThrowIfNegative(padding);
        if (images.Count == 0) throw new ArgumentException("no images", nameof(images));
        var first = images[0];
        if (images.Count == 1) return first;

        columns = Math.Min(columns, images.Count);
        var rows = (images.Count + columns - 1) / columns;
        var width = columns * (first.Width + (long)padding) + padding;
        var height = rows * (first.Height + (long)padding) + padding;
        if (width > int.MaxValue || height > int.MaxValue || width * height > Array.MaxLength / first.Channels)
            throw new ArgumentException($"a sheet of {width}x{height} pixels is too large", nameof(images));

        var pixels = new byte[width * height * first.Channels];
        pixels.AsSpan().Fill(background);
        for (var i = 0; i < images.Count; i++)
        {
            var image = images[i];
            if ((image.Width, image.Height, image.Channels) != (first.Width, first.Height, first.Channels))
                throw new ArgumentException($"image {i} is {image.Width}x{image.Height}x{image.Channels}, the first {first.Width}x{first.Height}x{first.Channels}", nameof(images));
            var left = i % columns * (first.Width + padding) + padding;
            var top = i / columns * (first.Height + padding) + padding;
            for (var y = 0; y < image.Height; y++)
                image.Row(y).CopyTo(pixels.AsSpan((int)(((top + y) * width + left) * first.Channels)));
        }

        return new Image((int)width, (int)height, first.Channels, pixels);
    }
}
