using System.Text.Json;
using System.Text.Json.Nodes;
using DiTRuntime.Exporter.Goldens;
using DiTRuntime.Models;

namespace DiTRuntime.Exporter.Folder;

/// <summary>What stands beside the weights: sources, build files, and what a person who receives the folder wants to know.</summary>
/// <param name="source">What is exported.</param>
/// <param name="settings">How.</param>
/// <param name="run">Its sampling.</param>
/// <param name="weights">The model.</param>
/// <param name="decoder">The decoder in a few words; null for models that work on pixels.</param>
internal sealed class FolderContents(ExportSource source, ExportSettings settings, ExportRun run, DiTWeights weights, string? decoder)
{
    private const string Templates = "templates/", Runtime = "runtime/", ReadmeTemplate = "README.md.in";

    private static readonly JsonSerializerOptions s_json = new() { WriteIndented = true };

    /// <summary>What each file is, where it is there.</summary>
    private static readonly (string Name, string Meaning)[] s_files =
    [
        (FolderWriter.WeightsName, "weights, decoder and everything else the program reads; mapped, not loaded"),
        (GoldenWriter.FileName, "golden vectors: what `verify` compares with"),
        ("dit.h", "the C API"),
        ("dit.c", "the runtime, one file"),
        ("main.c", "the program `dit`"),
        ("CMakeLists.txt", "builds the library, the program and its test"),
        ("config.json", "the architecture and the sampling of the golden images"),
        ("method.json", "how the weights were quantized"),
        ("memory.json", "what the memory is for"),
        (LicenceNotice.FileName, "licences of the parts"),
        ("LICENSE", "Apache License 2.0, of the runtime"),
        (Checksums.FileName, "hashes of every file"),
    ];

    /// <summary>Writes the files whose content the weights do not decide.</summary>
    /// <param name="folder">Where the weights and golden vectors lie already.</param>
    /// <param name="memory">What the memory is for: JSON, and a few lines for people.</param>
    public void Write(string folder, JsonObject memory, string memoryText)
    {
        WriteSources(folder);
        WriteText(folder, "LICENSE", EmbeddedFiles.Read("LICENSE"));
        var notice = LicenceNotice.Of(weights, source.Name, decoder);
        WriteText(folder, LicenceNotice.FileName, notice);
        WriteText(folder, "config.json", Config().ToJsonString(s_json) + "\n");
        if (weights.Checkpoint.Metadata.TryGetValue(PackedModel.MethodKey, out var method)) WriteText(folder, "method.json", Indented(method));
        WriteText(folder, "memory.json", memory.ToJsonString(s_json) + "\n");
        WriteTemplates(folder, memoryText, notice);
        Checksums.Write(folder);
    }

    private void WriteSources(string folder)
    {
        var amalgamator = new Amalgamator(name => EmbeddedFiles.TryRead(Runtime + name), settings.Target == ExportTarget.Cuda);
        WriteText(folder, Amalgamator.PublicHeader, EmbeddedFiles.Read(Runtime + Amalgamator.PublicHeader));
        foreach (var name in new[] { "dit.c", "main.c" }) WriteText(folder, name, amalgamator.Expand(name));
    }

    private void WriteTemplates(string folder, string memoryText, string notice)
    {
        var values = new Dictionary<string, string>
        {
            ["TARGET"] = settings.Target == ExportTarget.Cuda ? "cuda" : "c",
            ["MODEL"] = source.Name,
            ["SUMMARY"] = Summary(),
            ["EXAMPLE_LABEL"] = $"{7 % weights.Config.ClassCount}",
            ["LINK_FLAGS"] = settings.Target == ExportTarget.Cuda ? "-lpthread -lm -ldl" : "-lpthread -lm",
            ["MEMORY"] = memoryText,
            ["LICENCE"] = notice.TrimEnd(),
        };
        foreach (var name in EmbeddedFiles.Under(Templates).Where(name => name != ReadmeTemplate)) WriteText(folder, name, Fill(EmbeddedFiles.Read(Templates + name), values));
        if (EmbeddedFiles.TryRead(Templates + ReadmeTemplate) is not { } readme) return;
        values["FILES"] = FileTable(folder);
        WriteText(folder, "README.md", Fill(readme, values));
    }

    /// <summary>Only these names: CMake's own placeholders look the same and stay.</summary>
    private static string Fill(string template, Dictionary<string, string> values)
    {
        foreach (var (name, value) in values) template = template.Replace($"@{name}@", value, StringComparison.Ordinal);
        return template;
    }

    private static string FileTable(string folder)
    {
        var rows = s_files.Where(file => file.Name == Checksums.FileName || File.Exists(Path.Combine(folder, file.Name))).Select(file => $"| `{file.Name}` | {file.Meaning} |");
        return string.Join('\n', ["| file | |", "|---|---|", .. rows]);
    }

    private string Summary()
    {
        var config = weights.Config;
        var formats = weights.Layers.Select(layer => layer.LayerFormat).Where(format => format.Weights is not null).Select(format => format.ToString()).Distinct().ToArray();
        var form = formats.Length == 0 ? "not quantized" : $"quantized ({string.Join(", ", formats.Take(4))}{(formats.Length > 4 ? ", ..." : "")})";
        return $"{DiTConfigs.NameOf(config)}, {config.ClassCount} classes, {form}; {decoder ?? "works on pixels"}. Exported by DiTRuntime; draws the images that `dit generate --backend {(settings.Target == ExportTarget.Cuda ? "cuda" : "cpu")}` draws, bit for bit.";
    }

    private JsonObject Config() => new()
    {
        ["model"] = source.Name,
        ["architecture"] = DiTConfigs.NameOf(weights.Config),
        ["config"] = JsonNode.Parse(DiTConfigFacts.Write(weights.Config)),
        ["source_hash"] = Checkpoints.ContentHash.Of(weights.Checkpoint),
        ["decoder"] = decoder,
        ["target"] = settings.Target == ExportTarget.Cuda ? "cuda" : "c",
        ["architectures"] = settings.Target == ExportTarget.Cuda ? new JsonArray([.. settings.Architectures.Select(name => (JsonNode)name)]) : null,
        ["compat"] = settings.Compatibility == Compatibility.Diffusers ? "diffusers" : "official",
        ["defaults"] = new JsonObject
        {
            ["steps"] = run.Plan.Steps.Length,
            ["sampler"] = run.Plan.Name,
            ["spacing"] = run.Spacing,
            ["cfg_scale"] = run.GuidanceScale,
            ["batch"] = settings.Batch,
        },
        ["golden"] = new JsonObject { ["seed"] = settings.Seed, ["steps"] = GoldenRun.StepsOf(settings) },
        ["layers"] = new JsonObject(weights.Layers.Select(layer => KeyValuePair.Create(layer.Name, (JsonNode?)layer.LayerFormat.ToString()))),
    };

    private static string Indented(string json)
    {
        try
        {
            return JsonNode.Parse(json)!.ToJsonString(s_json) + "\n";
        }
        catch (JsonException)
        {
            // For the record only; a file that was read has an object there.
            return json;
        }
    }

    private static void WriteText(string folder, string name, string text)
    {
        var path = Path.Combine(folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
    }
}
