using System.Globalization;

namespace DiTRuntime.Imaging;

/// <summary>How an image was made: the text an image file carries under the keyword `parameters`.</summary>
/// <remarks>
/// Written as "Class: 207, Steps: 50, Sampler: ddim, …", the manner known from other image generators; optional fields are left
/// out where they are null. A value that holds a comma, a quote or a control character, or begins or ends with a space, is
/// written as a JSON string.
/// </remarks>
public sealed record GenerationParameters
{
    /// <summary>Keyword of the text in the image file.</summary>
    public const string Keyword = "parameters";

    /// <summary>Index of the class.</summary>
    public required int Class { get; init; }

    /// <summary>Number of sampling steps.</summary>
    public required int Steps { get; init; }

    /// <summary>Name of the sampler.</summary>
    public required string Sampler { get; init; }

    /// <summary>Timestep spacing, where it is told.</summary>
    public string? Spacing { get; init; }

    /// <summary>η of the sampler, where it is told.</summary>
    public double? Eta { get; init; }

    /// <summary>Guidance scale.</summary>
    public required double CfgScale { get; init; }

    /// <summary>Seed of this image.</summary>
    public required ulong Seed { get; init; }

    /// <summary>Columns of the image.</summary>
    public required int Width { get; init; }

    /// <summary>Rows of the image.</summary>
    public required int Height { get; init; }

    /// <summary>Name of the model.</summary>
    public required string Model { get; init; }

    /// <summary>Hash of the model file, where it is known.</summary>
    public string? ModelHash { get; init; }

    /// <summary>Weight format, where it is told.</summary>
    public string? Quant { get; init; }

    /// <summary>Implementation followed, where it is not the published one.</summary>
    public string? Compat { get; init; }

    /// <summary>Where noise came from, where it is not a generator of the image's own: "batch".</summary>
    public string? Noise { get; init; }

    /// <summary>Hash of the latents it started from, where they were given.</summary>
    public string? Latents { get; init; }

    /// <summary>Number of guided channels, where it is not the usual one.</summary>
    public int? GuidedChannels { get; init; }

    /// <summary>Hash of the decoder, where there is one.</summary>
    public string? VaeHash { get; init; }

    /// <summary>What ran the model, where it is not the processor.</summary>
    public string? Backend { get; init; }

    /// <summary>Version of the program.</summary>
    public required string Version { get; init; }

    /// <summary>Reads the text back; unknown fields are skipped.</summary>
    /// <returns>Null when the text is not of this form or lacks a field.</returns>
    public static GenerationParameters? TryParse(string text)
    {
        if (ParameterText.TryParse(text) is not { } fields) return null;
        if (!Integer("Class", out var label) || !Integer("Steps", out var steps) || !Number("CFG scale", out var scale)) return null;
        if (!ulong.TryParse(fields.GetValueOrDefault("Seed"), NumberStyles.None, CultureInfo.InvariantCulture, out var seed)) return null;
        if (fields.GetValueOrDefault("Size")?.Split('x') is not [var width, var height] || !TryInteger(width, out var columns) || !TryInteger(height, out var rows)) return null;
        if (fields.GetValueOrDefault("Sampler") is not { } sampler || fields.GetValueOrDefault("Model") is not { } model || fields.GetValueOrDefault("Version") is not { } version) return null;
        double? eta = null;
        if (fields.ContainsKey("Eta"))
        {
            if (!Number("Eta", out var value)) return null;
            eta = value;
        }

        return new GenerationParameters
        {
            Class = label,
            Steps = steps,
            Sampler = sampler,
            Spacing = fields.GetValueOrDefault("Spacing"),
            Eta = eta,
            CfgScale = scale,
            Seed = seed,
            Width = columns,
            Height = rows,
            Model = model,
            ModelHash = fields.GetValueOrDefault("Model hash"),
            Quant = fields.GetValueOrDefault("Quant"),
            Compat = fields.GetValueOrDefault("Compat"),
            Noise = fields.GetValueOrDefault("Noise"),
            Latents = fields.GetValueOrDefault("Latents"),
            GuidedChannels = Integer("Guided channels", out var channels) ? channels : null,
            VaeHash = fields.GetValueOrDefault("VAE hash"),
            Backend = fields.GetValueOrDefault("Backend"),
            Version = version,
        };

        bool Integer(string name, out int value) => TryInteger(fields.GetValueOrDefault(name), out value);

        bool Number(string name, out double value) =>
            double.TryParse(fields.GetValueOrDefault(name), NumberStyles.Float, CultureInfo.InvariantCulture, out value);
    }

    /// <summary>The text.</summary>
    public string Format() => ParameterText.Format(
    [
        ("Class", Text(Class)),
        ("Steps", Text(Steps)),
        ("Sampler", Sampler),
        ("Spacing", Spacing),
        ("Eta", Eta is { } eta ? Text(eta) : null),
        ("CFG scale", Text(CfgScale)),
        ("Seed", Text(Seed)),
        ("Size", $"{Width}x{Height}"),
        ("Model", Model),
        ("Model hash", ModelHash),
        ("Quant", Quant),
        ("Compat", Compat),
        ("Noise", Noise),
        ("Latents", Latents),
        ("Guided channels", GuidedChannels is { } channels ? Text(channels) : null),
        ("VAE hash", VaeHash),
        ("Backend", Backend),
        ("Version", Version),
    ]);

    /// <summary>The texts of the image's file: this one under its keyword.</summary>
    public IReadOnlyDictionary<string, string> ToTexts() => new Dictionary<string, string> { [Keyword] = Format() };

    private static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);

    private static bool TryInteger(string? text, out int value) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
}
