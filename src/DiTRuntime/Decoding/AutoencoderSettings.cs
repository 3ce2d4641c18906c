using System.Text.Json;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Decoding;

/// <summary>What a decoder's config.json says; null where it says nothing.</summary>
internal sealed record AutoencoderSettings
{
    /// <summary>Where <see cref="Checkpoint.Open"/> leaves the text of the file beside the weights.</summary>
    private const string MetadataKey = DiffusersFolder.ConfigName;

    /// <summary>Groups of every group norm.</summary>
    public int? NormGroupCount { get; private init; }

    /// <summary>The latent is divided by this before decoding.</summary>
    public float? ScalingFactor { get; private init; }

    /// <summary>Added after that division.</summary>
    public float? ShiftFactor { get; private init; }

    /// <summary>Channels of each level, from the image's end to the latent's.</summary>
    public int[]? BlockOutChannels { get; private init; }

    /// <summary>Channels of the latent.</summary>
    public int? LatentChannels { get; private init; }

    /// <summary>Reads the configuration that a checkpoint carries in its metadata, when it is one of this class.</summary>
    /// <param name="checkpoint">The decoder's file.</param>
    /// <param name="className">The value of "_class_name" looked for; another model's configuration is left alone.</param>
    /// <exception cref="InvalidFileException">The text is not JSON, or a field is not what it should be.</exception>
    public static AutoencoderSettings Read(ICheckpoint checkpoint, string className)
    {
        if (!checkpoint.Metadata.TryGetValue(MetadataKey, out var text)) return new AutoencoderSettings();
        var file = checkpoint.Path;
        try
        {
            using var document = JsonDocument.Parse(text);
            var root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object) throw Invalid(file, "expected a JSON object");
            if (!root.TryGetProperty("_class_name", out var name) || name.ValueKind != JsonValueKind.String || name.GetString() != className)
                return new AutoencoderSettings();
            return new AutoencoderSettings
            {
                NormGroupCount = Integer(root, "norm_num_groups", file),
                ScalingFactor = Number(root, "scaling_factor", file) is not 0 and var factor ? factor : throw Invalid(file, "scaling_factor is 0"),
                ShiftFactor = Number(root, "shift_factor", file),
                BlockOutChannels = Integers(root, "block_out_channels", file),
                LatentChannels = Integer(root, "latent_channels", file),
            };
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The second comes from text that is no valid UTF-16 once unescaped.
            throw Invalid(file, "not valid JSON", e);
        }
    }

    /// <summary>A problem with the configuration of a checkpoint.</summary>
    public static InvalidFileException Invalid(string file, string problem, Exception? inner = null) => new(file, $"{MetadataKey}: {problem}", inner);

    private static int? Integer(JsonElement root, string field, string file)
    {
        if (Find(root, field) is not { } value) return null;
        return Positive(value, field, file);
    }

    private static int[]? Integers(JsonElement root, string field, string file)
    {
        if (Find(root, field) is not { } value) return null;
        if (value.ValueKind != JsonValueKind.Array) throw Wrong(value, field, "a list of positive integers", file);
        return [.. value.EnumerateArray().Select(item => Positive(item, field, file))];
    }

    private static int Positive(JsonElement value, string field, string file) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var number) && number > 0
            ? number
            : throw Wrong(value, field, "a positive integer", file);

    private static float? Number(JsonElement root, string field, string file)
    {
        if (Find(root, field) is not { } value) return null;
        if (value.ValueKind != JsonValueKind.Number || !float.IsFinite(value.GetSingle())) throw Wrong(value, field, "a number", file);
        return value.GetSingle();
    }

    private static JsonElement? Find(JsonElement root, string field) =>
        root.TryGetProperty(field, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;

    private static InvalidFileException Wrong(JsonElement value, string field, string expected, string file)
    {
        var text = value.GetRawText();
        return Invalid(file, $"{field} is {(text.Length <= 40 ? text : text[..40] + "…")}, expected {expected}");
    }
}
