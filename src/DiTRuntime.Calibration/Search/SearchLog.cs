using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Calibration.Search;

/// <summary>The generations of a search, one JSON object a line after a first line with the settings. The file is replaced as a whole after each generation.</summary>
public sealed class SearchLog
{
    private const long MaxBytes = 1L << 30;

    private readonly string _path;
    private readonly List<string> _lines = [];
    private readonly List<IReadOnlyList<Candidate>> _generations = [];

    private SearchLog(string path, string header)
    {
        _path = path;
        _lines.Add(header);
    }

    /// <summary>What has been measured.</summary>
    public IReadOnlyList<IReadOnlyList<Candidate>> Generations => _generations;

    /// <summary>Opens a log, or begins one.</summary>
    /// <param name="path">The file.</param>
    /// <param name="settings">All that the search follows from, as a JSON object; a log with others is replaced.</param>
    /// <param name="layerCount">Layers searched over.</param>
    /// <param name="note">Told when earlier generations are taken up or dropped.</param>
    /// <exception cref="InvalidFileException">The file is no log of a search.</exception>
    public static SearchLog Open(string path, JsonObject settings, int layerCount, Action<string> note)
    {
        var log = new SearchLog(path, settings.ToJsonString());
        if (!File.Exists(path)) return log;
        try
        {
            if (new FileInfo(path).Length > MaxBytes) throw new InvalidFileException(path, $"no log of a search has more than {MaxBytes} bytes");
            var lines = File.ReadAllLines(path);
            if (lines.Length == 0 || lines[0] != log._lines[0])
            {
                if (lines.Length == 0 || JsonNode.Parse(lines[0]) is not JsonObject) throw new InvalidFileException(path, "not the log of a search; remove it or choose another output");
                note($"{path} is of a search with other settings; starting anew");
                return log;
            }

            foreach (var line in lines.Skip(1)) log.Take(line, layerCount);
            if (log._generations.Count > 0) note($"going on after generation {log._generations.Count}, found in {path}");
            return log;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or KeyNotFoundException)
        {
            throw new InvalidFileException(path, $"not the log of a search ({TensorRules.Printable(e.Message)}); remove it or choose another output", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidFileException(path, "cannot be read", e);
        }
    }

    /// <summary>Adds a generation and writes the file.</summary>
    /// <exception cref="OutputException">It cannot be written.</exception>
    public void Add(IReadOnlyList<Candidate> generation)
    {
        _generations.Add(generation);
        var best = _generations.SelectMany(candidates => candidates).Min(candidate => candidate.Fitness);
        _lines.Add(new JsonObject
        {
            ["generation"] = _generations.Count,
            ["best"] = best,
            ["candidates"] = new JsonArray([.. generation.Select(candidate => (JsonNode)new JsonObject
            {
                ["fitness"] = candidate.Fitness,
                ["groups"] = new JsonArray([.. candidate.Groups.Select(size => (JsonNode)size)]),
            })]),
        }.ToJsonString());
        AtomicFile.Write(_path, stream => stream.Write(Encoding.UTF8.GetBytes(string.Join('\n', _lines) + '\n')));
    }

    private void Take(string line, int layerCount)
    {
        using var json = JsonDocument.Parse(line);
        Candidate[] generation = [.. json.RootElement.GetProperty("candidates").EnumerateArray().Select(candidate => new Candidate(
            [.. candidate.GetProperty("groups").EnumerateArray().Select(size => size.GetInt32())], candidate.GetProperty("fitness").GetDouble()))];
        if (Array.Exists(generation, candidate => candidate.Groups.Count != layerCount)) throw new FormatException($"a candidate has not {layerCount} groups");
        _generations.Add(generation);
        _lines.Add(line);
    }
}
