using System.Text.Json;
using System.Text.Json.Nodes;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>A JSON object with the group sizes of single layers.</summary>
public static class GroupsFile
{
    private const long MaxBytes = 1 << 22;

    /// <summary>Reads a file.</summary>
    /// <exception cref="InvalidFileException">It is missing, or is not an object of whole numbers.</exception>
    public static Dictionary<string, int> Read(string path)
    {
        try
        {
            if (new FileInfo(path) is { Exists: true, Length: > MaxBytes } file) throw new InvalidFileException(path, $"{file.Length} bytes; a list of group sizes has at most {MaxBytes}");
            using var json = JsonDocument.Parse(File.ReadAllText(path), new JsonDocumentOptions { AllowDuplicateProperties = false });
            if (json.RootElement.ValueKind != JsonValueKind.Object) throw new InvalidFileException(path, "not a JSON object; {\"blocks.0.attn.qkv\": 64, ...} was expected");
            return json.RootElement.EnumerateObject().ToDictionary(property => property.Name, property => Size(path, property), StringComparer.Ordinal);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new InvalidFileException(path, $"not valid JSON ({TensorRules.Printable(e.Message)})", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidFileException(path, e is FileNotFoundException or DirectoryNotFoundException ? "no such file" : "cannot be read", e);
        }
    }

    /// <summary>Writes a file, whole or not at all.</summary>
    /// <exception cref="OutputException">It cannot be written.</exception>
    public static void Write(string path, IReadOnlyDictionary<string, int> groups)
    {
        var json = new JsonObject();
        foreach (var (layer, size) in groups) json[layer] = size;
        AtomicFile.Write(path, stream =>
        {
            using var writer = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
            json.WriteTo(writer);
        });
    }

    private static int Size(string path, JsonProperty property) =>
        property.Value.ValueKind == JsonValueKind.Number && property.Value.TryGetInt32(out var size) && size >= 0
            ? size
            : throw new InvalidFileException(path, $"{TensorRules.Printable(property.Name)} is {TensorRules.Printable(property.Value.GetRawText())}; a group size of 0 (the whole row) or more was expected");
}
