using System.Text;

namespace DiTRuntime.Checkpoints;

/// <summary>
/// One component of a diffusers pipeline on disk: its weight file, its <c>config.json</c> and the pipeline's <c>model_index.json</c>.
/// </summary>
internal sealed class DiffusersFolder
{
    /// <summary>Name of the component's configuration, and of its text in the metadata.</summary>
    public const string ConfigName = "config.json";

    /// <summary>Name of the pipeline's index, and of its text in the metadata.</summary>
    public const string ModelIndexName = "model_index.json";

    private const string WeightPrefix = "diffusion_pytorch_model";
    private const int MaxJsonBytes = 1 << 20;

    private static readonly string[] s_weightNames =
    [
        $"{WeightPrefix}.safetensors", $"{WeightPrefix}.safetensors.index.json", $"{WeightPrefix}.bin",
        $"{WeightPrefix}.fp16.safetensors", $"{WeightPrefix}.fp16.bin",
    ];

    private readonly string _path;
    private readonly string _weights;
    private readonly string _component;
    private readonly string _pipeline;

    private DiffusersFolder(string path, string weights, string component, string pipeline)
    {
        _path = path;
        _weights = weights;
        _component = component;
        _pipeline = pipeline;
    }

    /// <summary>Recognises a pipeline folder, a component's folder, or a component's weight file; null for any other file.</summary>
    /// <exception cref="InvalidFileException">A folder without weights.</exception>
    public static DiffusersFolder? TryLocate(string path, string component)
    {
        if (!Directory.Exists(path))
        {
            if (!System.IO.Path.GetFileName(path).StartsWith(WeightPrefix, StringComparison.Ordinal)) return null;
            var beside = System.IO.Path.GetDirectoryName(path) ?? "";
            return new DiffusersFolder(path, path, beside, System.IO.Path.Combine(beside, ".."));
        }

        var inner = System.IO.Path.Combine(path, component);
        var isPipeline = Directory.Exists(inner);
        var folder = isPipeline ? inner : path;
        var weights = Array.Find(s_weightNames, name => File.Exists(System.IO.Path.Combine(folder, name)))
            ?? throw new InvalidFileException(path, $"a folder without weights: {(isPipeline ? component + "/" : "")}{s_weightNames[0]} (or .bin, or an index) was expected");
        return new DiffusersFolder(
            path, System.IO.Path.Combine(folder, weights), folder, isPipeline ? path : System.IO.Path.Combine(path, ".."));
    }

    /// <summary>Opens the weights and adds the texts of the configuration files to their metadata.</summary>
    /// <exception cref="InvalidFileException">The weights or a configuration file cannot be read.</exception>
    public ICheckpoint Open()
    {
        var config = ReadText(System.IO.Path.Combine(_component, ConfigName));
        var modelIndex = ReadText(System.IO.Path.Combine(_pipeline, ModelIndexName));
        var weights = Checkpoint.OpenFile(_weights);
        var metadata = new Dictionary<string, string>(weights.Metadata, StringComparer.Ordinal);
        if (config is not null) metadata[ConfigName] = config;
        if (modelIndex is not null) metadata[ModelIndexName] = modelIndex;
        return new CheckpointFile(_path, $"diffusers, {weights.Kind}", weights.Tensors, metadata, weights);
    }

    private static string? ReadText(string path)
    {
        if (!File.Exists(path)) return null;
        using var file = MappedFile.Open(path);
        return file.Length <= MaxJsonBytes
            ? Encoding.UTF8.GetString(file.Slice(0, (int)file.Length))
            : throw new InvalidFileException(path, $"the file has {file.Length} bytes; a configuration has at most {MaxJsonBytes}");
    }
}
