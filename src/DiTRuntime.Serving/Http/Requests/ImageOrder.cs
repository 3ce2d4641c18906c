using System.Globalization;
using DiTRuntime.Models.Scheduling;
using Microsoft.AspNetCore.WebUtilities;

namespace DiTRuntime.Serving.Http;

/// <summary>A request for images, settled: what the scheduler is asked for, and how the answer shall look.</summary>
/// <param name="Request">What the scheduler is asked for.</param>
/// <param name="Format">The file format, as clients write it: "png".</param>
/// <param name="AsLinks">Whether the answer holds links in the place of files.</param>
internal sealed record ImageOrder(GenerationRequest Request, string Format, bool AsLinks)
{
    /// <summary>The extension of a file.</summary>
    public string Extension => ImageFormats.ExtensionOf(Format);

    /// <summary>The query of the link to an image: every field that its bits depend on, in one order.</summary>
    /// <param name="image">Index of the image.</param>
    public string QueryOf(int image)
    {
        var sampler = Request.Sampler;
        return QueryHelpers.AddQueryString("",
        [
            KeyValuePair.Create<string, string?>("class", Text(Request.Labels[image])),
            KeyValuePair.Create<string, string?>("seed", Text(Request.SeedOf(image))),
            KeyValuePair.Create<string, string?>("steps", Text(sampler.StepCount)),
            KeyValuePair.Create<string, string?>("guidance_scale", Text(Request.GuidanceScale)),
            KeyValuePair.Create<string, string?>("sampler", sampler.Sampler),
            KeyValuePair.Create<string, string?>("eta", Text(sampler.Eta)),
            KeyValuePair.Create<string, string?>("spacing", sampler.ResolveSpacing().Name),
            KeyValuePair.Create<string, string?>("format", Format),
        ]);
    }

    private static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
}
