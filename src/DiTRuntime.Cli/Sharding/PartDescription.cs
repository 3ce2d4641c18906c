using System.Buffers;
using System.Text.Json;
using DiTRuntime.Cli.Generation;

namespace DiTRuntime.Cli.Sharding;

/// <summary>What a part says about itself, in its member part.json and at the head of its log.</summary>
/// <param name="Run">The run it belongs to.</param>
/// <param name="Shard">Which shard of it.</param>
/// <param name="Digest">SHA-256 of the pixels in arr_0, in lower-case hexadecimal; null while they are being made.</param>
internal sealed record PartDescription(RunDescription Run, Shard Shard, string? Digest)
{
    private const string Format = "ditruntime.part", FormatKey = "format", RunKey = "run", ShardKey = "shard", DigestKey = "sha256";
    private const int Version = 1;

    /// <summary>Reads one.</summary>
    /// <param name="path">The file, for errors.</param>
    /// <param name="json">The text, UTF-8.</param>
    /// <exception cref="InvalidFileException">It is not one.</exception>
    public static PartDescription Read(string path, ReadOnlyMemory<byte> json)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            if (document.RootElement is not { ValueKind: JsonValueKind.Object } root || Text(root, FormatKey) != $"{Format} {Version}")
                throw new InvalidFileException(path, "not a part of a sharded run that this version understands");
            if (!root.TryGetProperty(RunKey, out var run)) throw new InvalidFileException(path, "its description names no run");
            return new PartDescription(RunDescription.Read(path, run), Shard.Parse(Text(root, ShardKey) ?? string.Empty), Text(root, DigestKey));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or UsageException)
        {
            throw new InvalidFileException(path, "its description is damaged", e);
        }
    }

    /// <summary>The text, UTF-8, on one line.</summary>
    public byte[] ToJson()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString(FormatKey, $"{Format} {Version}");
            json.WriteString(ShardKey, Shard.ToString());
            json.WritePropertyName(RunKey);
            Run.Write(json);
            if (Digest is not null) json.WriteString(DigestKey, Digest);
            json.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }

    private static string? Text(JsonElement json, string name) =>
        json.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}
