using System.Text;
using System.Text.Json;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Models;

/// <summary>
/// What a checkpoint's configuration says, in either spelling: the arguments of the official <c>DiT(...)</c> (metadata <c>config</c> or
/// <c>ditruntime.config</c>), or the diffusers <c>config.json</c>. The tensors stay the authority; a contradiction is an error.
/// </summary>
internal sealed class DiTConfigFacts
{
    /// <summary>Metadata key of the configuration in files that this project writes, as in the built-in model.</summary>
    public const string MetadataKey = "config";

    private const int MaxCharacters = 1 << 20;

    private static readonly string[] s_sources = [DiffusersFolder.ConfigName, PackedModel.ConfigKey, MetadataKey];

    private static readonly JsonDocumentOptions s_strict = new() { AllowDuplicateProperties = false };

    private readonly Dictionary<string, int> _numbers = new(StringComparer.Ordinal);
    private readonly string _path;
    private readonly string _source;

    private DiTConfigFacts(string path, string source)
    {
        _path = path;
        _source = source;
    }

    /// <summary>Heads, or null.</summary>
    public int? HeadCount => Number("num_heads") ?? Number("num_attention_heads");

    /// <summary>S, or null.</summary>
    public int? InputSize => Number("input_size") ?? Number("sample_size");

    /// <summary>Where the configuration stands, for messages.</summary>
    public string Source => _source;

    /// <summary>The configuration of a checkpoint; empty where it has none.</summary>
    /// <exception cref="InvalidFileException">The configuration is not a JSON object.</exception>
    public static DiTConfigFacts Read(ICheckpoint checkpoint)
    {
        var source = Array.Find(s_sources, checkpoint.Metadata.ContainsKey);
        var facts = new DiTConfigFacts(checkpoint.Path, source ?? "the configuration");
        if (source is null) return facts;
        ReadObject(checkpoint, source, root =>
        {
            foreach (var property in root.EnumerateObject())
            {
                if (property.Value.ValueKind == JsonValueKind.Number && property.Value.TryGetInt32(out var number)) facts._numbers[property.Name] = number;
            }
        });
        return facts;
    }

    /// <summary>Reads a JSON object that stands in a checkpoint's metadata.</summary>
    /// <exception cref="InvalidFileException">The text is not a JSON object.</exception>
    public static void ReadObject(ICheckpoint checkpoint, string key, Action<JsonElement> read)
    {
        var text = checkpoint.Metadata[key];
        if (text.Length > MaxCharacters) throw new InvalidFileException(checkpoint.Path, $"{key} has {text.Length} characters; at most {MaxCharacters} are read");
        try
        {
            using var json = JsonDocument.Parse(text, s_strict);
            if (json.RootElement.ValueKind != JsonValueKind.Object) throw new InvalidFileException(checkpoint.Path, $"{key} is not a JSON object");
            read(json.RootElement);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            // The latter two: text with half a surrogate pair, escaped or bare.
            throw new InvalidFileException(checkpoint.Path, $"{key} is not valid JSON ({TensorRules.Printable(e.Message)})", e);
        }
    }

    /// <summary>The configuration as this project writes it into metadata.</summary>
    public static string Write(DiTConfig config)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteNumber("input_size", config.InputSize);
            json.WriteNumber("patch_size", config.PatchSize);
            json.WriteNumber("in_channels", config.InChannels);
            json.WriteNumber("hidden_size", config.HiddenSize);
            json.WriteNumber("depth", config.Depth);
            json.WriteNumber("num_heads", config.HeadCount);
            json.WriteNumber("num_classes", config.ClassCount);
            json.WriteNumber("mlp_ratio", (double)config.MlpSize / config.HiddenSize);
            json.WriteBoolean("learn_sigma", config.LearnsVariance);
            if (config.FrequencySize != DiTConfig.PublishedFrequencySize) json.WriteNumber("frequency_embedding_size", config.FrequencySize);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    /// <summary>Compares what is said with what the tensors show.</summary>
    /// <exception cref="InvalidFileException">A contradiction, named.</exception>
    public void CheckAgainst(DiTConfig config)
    {
        Check("patch_size", config.PatchSize);
        Check("in_channels", config.InChannels);
        Check("out_channels", config.OutChannels);
        Check("hidden_size", config.HiddenSize);
        Check("depth", config.Depth);
        Check("num_layers", config.Depth);
        Check("num_classes", config.ClassCount);
        Check("num_embeds_ada_norm", config.ClassCount);
        Check("attention_head_dim", config.HeadSize);
    }

    private void Check(string name, int found)
    {
        if (Number(name) is { } said && said != found) throw new InvalidFileException(_path, $"{_source} says {name} {said}; the tensors have {found}");
    }

    private int? Number(string name) => _numbers.TryGetValue(name, out var number) ? number : null;
}
