namespace DiTRuntime.Imaging;

/// <summary>Writes images in one or more file formats.</summary>
public interface IImageCodec
{
    /// <summary>Extensions it writes, in lower case with the dot: ".png".</summary>
    IReadOnlyList<string> Extensions { get; }

    /// <summary>Writes one image file.</summary>
    /// <param name="image">What to write.</param>
    /// <param name="text">Texts to carry by keyword, where the format can; `parameters` is the one this project reads.</param>
    /// <param name="extension">One of <see cref="Extensions"/>.</param>
    /// <param name="output">Receives the file.</param>
    void Encode(Image image, IReadOnlyDictionary<string, string>? text, string extension, Stream output);
}
