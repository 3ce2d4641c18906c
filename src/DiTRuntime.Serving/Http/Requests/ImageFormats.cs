using System.Net.Mime;
using DiTRuntime.Imaging;

namespace DiTRuntime.Serving.Http;

/// <summary>File formats as clients write them: those that this build writes.</summary>
internal static class ImageFormats
{
    /// <summary>Where nothing says which.</summary>
    public const string Default = "png";

    /// <summary>"png", and "jpeg" and "webp" where the codec is built in.</summary>
    public static IReadOnlyList<string> All { get; } = [.. new[] { Default, "jpeg", "webp" }.Where(format => ImageCodecs.Extensions.Contains(ExtensionOf(format)))];

    /// <summary>The extension of its files.</summary>
    public static string ExtensionOf(string format) => "." + format;

    /// <summary>Its content type.</summary>
    public static string ContentTypeOf(string format) => format switch
    {
        "jpeg" => MediaTypeNames.Image.Jpeg,
        "webp" => MediaTypeNames.Image.Webp,
        _ => MediaTypeNames.Image.Png,
    };
}
