namespace DiTRuntime.Imaging;

/// <summary>The image formats of this build.</summary>
public static class ImageCodecs
{
#if IMAGESHARP
    private static readonly ImageSharpCodec s_codec = new();
#else
    private static readonly PngCodec s_codec = new();
#endif

    /// <summary>Extensions this build writes, in lower case with the dot.</summary>
    public static IReadOnlyList<string> Extensions => s_codec.Extensions;

    /// <summary>The codec for a path, by its extension in any case.</summary>
    /// <exception cref="UsageException">This build does not write such files.</exception>
    public static IImageCodec ForPath(string path)
    {
        var extension = ExtensionOf(path);
        if (s_codec.Extensions.Contains(extension)) return s_codec;
        var found = extension.Length == 0 ? "no file extension" : $"{extension} is not an image format of this build";
        throw new UsageException($"{path}: {found}; expected {string.Join(", ", s_codec.Extensions)}");
    }

    /// <summary>Writes an image file whole or not at all, in the format its extension names.</summary>
    /// <param name="path">Where the file shall be.</param>
    /// <param name="image">What to write.</param>
    /// <param name="text">Texts to carry by keyword.</param>
    /// <exception cref="UsageException">This build does not write such files.</exception>
    /// <exception cref="OutputException">The file cannot be written.</exception>
    public static void Save(string path, Image image, IReadOnlyDictionary<string, string>? text = null)
    {
        var codec = ForPath(path);
        AtomicFile.Write(path, stream => codec.Encode(image, text, ExtensionOf(path), stream));
    }

    private static string ExtensionOf(string path) => Path.GetExtension(path).ToLowerInvariant();
}
