using SixLabors.ImageSharp;
using SixLabors.ImageSharp.Formats.Jpeg;
using SixLabors.ImageSharp.Formats.Png.Chunks;
using SixLabors.ImageSharp.Formats.Webp;
using SixLabors.ImageSharp.Metadata.Profiles.Exif;
using SixLabors.ImageSharp.PixelFormats;
using SharpImage = SixLabors.ImageSharp.Image;

namespace DiTRuntime.Imaging;

/// <summary>Writes PNG, JPEG and lossless WebP through SixLabors.ImageSharp 3; built with -p:ImageCodec=ImageSharp.</summary>
/// <remarks>PNG carries every text; JPEG and WebP carry `parameters` as the EXIF user comment.</remarks>
public sealed class ImageSharpCodec : IImageCodec
{
    private const int JpegQuality = 95;

    /// <inheritdoc/>
    public IReadOnlyList<string> Extensions { get; } = [".png", ".jpg", ".jpeg", ".webp"];

    /// <inheritdoc/>
    public void Encode(Image image, IReadOnlyDictionary<string, string>? text, string extension, Stream output)
    {
        using SharpImage copy = image.Channels == 1
            ? SharpImage.LoadPixelData<L8>(image.Pixels, image.Width, image.Height)
            : SharpImage.LoadPixelData<Rgb24>(image.Pixels, image.Width, image.Height);
        if (extension == ".png")
        {
            var texts = copy.Metadata.GetPngMetadata().TextData;
            foreach (var (keyword, value) in text ?? new Dictionary<string, string>())
                texts.Add(new PngTextData(keyword, value, string.Empty, string.Empty));
            copy.SaveAsPng(output);
            return;
        }

        if (text is not null && text.TryGetValue(GenerationParameters.Keyword, out var parameters))
        {
            copy.Metadata.ExifProfile = new ExifProfile();
            copy.Metadata.ExifProfile.SetValue(ExifTag.UserComment, new EncodedString(EncodedString.CharacterCode.Unicode, parameters));
        }

        if (extension == ".webp") copy.SaveAsWebp(output, new WebpEncoder { FileFormat = WebpFileFormatType.Lossless });
        else copy.SaveAsJpeg(output, new JpegEncoder { Quality = JpegQuality });
    }
}
