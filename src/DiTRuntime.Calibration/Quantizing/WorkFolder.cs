using System.Globalization;
using System.Text;
using System.Text.Json;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>
/// What a long calibration has finished, kept beside its output, so that a run that was killed goes on where it stood. Every file appears whole or not at all; the state says
/// how many blocks are finished, and what it does not count is done again.
/// </summary>
internal sealed class WorkFolder
{
    private const string SettingsName = "settings.json", SamplesName = "samples.safetensors", StateName = "state.safetensors", PartSuffix = ".part.safetensors", TrainedSuffix = ".trained" + PartSuffix, TrainingPrefix = "training.";
    /// <summary>A training's log, in the folder and after the output's name.</summary>
    public const string LogName = "log.csv";

    private const string Suffix = ".work";

    private const string FinishedKey = "finished", LayersKey = "layers", TokensName = "tokens";

    private readonly string _path;

    private WorkFolder(string path) => _path = path;

    /// <summary>The calibration samples.</summary>
    public string SamplesPath => Path.Combine(_path, SamplesName);

    /// <summary>Whether the samples are there.</summary>
    public bool HasSamples => File.Exists(SamplesPath);

    /// <summary>Opens the folder of an output.</summary>
    /// <param name="output">Where the packed file shall be.</param>
    /// <param name="settings">All that the result follows from; a folder with others is emptied.</param>
    /// <param name="note">Told when an earlier run's work is dropped.</param>
    /// <exception cref="OutputException">The folder cannot be made, or holds what no calibration has left there.</exception>
    public static WorkFolder Open(string output, string settings, Action<string> note)
    {
        var folder = new WorkFolder(output + Suffix);
        var path = Path.Combine(folder._path, SettingsName);
        folder.Guard(() =>
        {
            if (File.Exists(folder._path)) throw new OutputException(folder._path, "this is a file; a folder for unfinished work was expected");
            if (Directory.Exists(folder._path) && Directory.EnumerateFileSystemEntries(folder._path).FirstOrDefault(entry => !IsOurs(entry)) is { } stranger)
                throw new OutputException(stranger, $"no calibration has left this in {folder._path}; remove it or choose another output");
            if (File.Exists(path) && File.ReadAllText(path) == settings) return;
            if (Directory.Exists(folder._path))
            {
                if (File.Exists(path)) note($"{folder._path} holds work with other settings or of another model; starting anew");
                folder.Delete();
            }

            Directory.CreateDirectory(folder._path);
            AtomicFile.Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(settings)));
        });
        return folder;
    }

    /// <summary>Keeps a finished layer.</summary>
    public void Save(PackedLayer layer) => layer.Save(PartPath(layer.Weight.Name));

    /// <summary>A finished layer.</summary>
    public PackedLayer Load(string layer) => PackedLayer.Load(PartPath(layer));

    /// <summary>Whether a layer is there.</summary>
    public bool Has(string layer) => File.Exists(PartPath(layer));

    /// <summary>Keeps what a training has made of a layer, beside what it started from.</summary>
    public void SaveTrained(PackedLayer layer) => layer.Save(TrainedPath(layer.Weight.Name));

    /// <summary>What a training has made of a layer; null where it has not changed it.</summary>
    public PackedLayer? TryLoadTrained(string layer) => File.Exists(TrainedPath(layer)) ? PackedLayer.Load(TrainedPath(layer)) : null;

    /// <summary>A file of the training's own: "training." and the name.</summary>
    public string TrainingPath(string name) => Path.Combine(_path, TrainingPrefix + name);

    /// <summary>Counts blocks as finished.</summary>
    /// <param name="finished">How many.</param>
    /// <param name="layers">What became of their layers.</param>
    /// <param name="tokens">The residual stream behind them, to go on from.</param>
    public void SaveState(int finished, IReadOnlyList<LayerReport> layers, TokenStates tokens)
    {
        var metadata = new Dictionary<string, string>
        {
            [FinishedKey] = finished.ToString(CultureInfo.InvariantCulture),
            [LayersKey] = JsonSerializer.Serialize(layers, LayerReportJson.Default.IReadOnlyListLayerReport),
        };
        var tensor = new TensorDescription(TokensName, ElementType.F32, [tokens.SampleCount, tokens.SampleLength]);
        AtomicFile.Write(Path.Combine(_path, StateName), stream => SafetensorsWriter.Write(stream, metadata, [tensor], (_, output) => tokens.Write(output)));
    }

    /// <summary>Reads the state, if there is one.</summary>
    /// <param name="tokens">Receives the residual stream.</param>
    /// <param name="layers">Receives what became of the finished layers.</param>
    /// <returns>Finished blocks.</returns>
    /// <exception cref="InvalidFileException">The state is damaged.</exception>
    public int LoadState(TokenStates tokens, List<LayerReport> layers)
    {
        var path = Path.Combine(_path, StateName);
        if (!File.Exists(path)) return 0;
        using var checkpoint = Checkpoint.Open(path);
        try
        {
            var finished = int.Parse(checkpoint.Metadata[FinishedKey], CultureInfo.InvariantCulture);
            layers.AddRange(JsonSerializer.Deserialize(checkpoint.Metadata[LayersKey], LayerReportJson.Default.IReadOnlyListLayerReport)!);
            if (!checkpoint.TryGet(TokensName, out var tensor) || !tensor.Shape.SequenceEqual([tokens.SampleCount, tokens.SampleLength]))
                throw new InvalidFileException(path, $"no tensor {TokensName} [{tokens.SampleCount},{tokens.SampleLength}]; remove the folder to start anew");
            tokens.Read(tensor);
            return finished;
        }
        catch (Exception e) when (e is JsonException or FormatException or KeyNotFoundException or OverflowException)
        {
            throw new InvalidFileException(path, "not the state of a calibration; remove the folder to start anew", e);
        }
    }

    /// <summary>Keeps the log of a training beside the output, where there is one.</summary>
    public void KeepLog() => Guard(() =>
    {
        if (File.Exists(TrainingPath(LogName))) File.Move(TrainingPath(LogName), $"{_path[..^Suffix.Length]}.{LogName}", overwrite: true);
    });

    /// <summary>Removes the folder and what calibration has put there.</summary>
    public void Delete() => Guard(() =>
    {
        foreach (var file in Directory.EnumerateFiles(_path).Where(IsOurs).ToArray()) File.Delete(file);
        Directory.Delete(_path);
    });

    private static bool IsOurs(string entry) =>
        Path.GetFileName(entry) is var name && (name is SettingsName or SamplesName or StateName || name.EndsWith(PartSuffix, StringComparison.Ordinal) || name.StartsWith(TrainingPrefix, StringComparison.Ordinal)
            || name.EndsWith(".partial", StringComparison.Ordinal)) && File.Exists(entry);

    private string TrainedPath(string layer) => Path.Combine(_path, layer + TrainedSuffix);

    private string PartPath(string layer) => Path.Combine(_path, layer + PartSuffix);

    private void Guard(Action work)
    {
        try
        {
            work();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new OutputException(_path, $"the folder for unfinished work cannot be used ({e.Message})", e);
        }
    }
}
