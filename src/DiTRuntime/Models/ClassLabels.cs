namespace DiTRuntime.Models;

/// <summary>Names and WordNet ids of a model's classes.</summary>
public sealed class ClassLabels
{
    private readonly Dictionary<string, int> _indices = new(StringComparer.OrdinalIgnoreCase);
    private readonly string[] _names;

    /// <param name="names">Per class, its names separated by commas ("tench, Tinca tinca"); empty when unknown.</param>
    /// <param name="wordNetIds">Per class, its WordNet id ("n01440764"); empty when unknown.</param>
    public ClassLabels(IReadOnlyList<string> names, IReadOnlyList<string> wordNetIds)
    {
        _names = [.. names];
        // A name that several classes share goes to the last one, as in diffusers.
        for (var i = 0; i < names.Count; i++)
            foreach (var name in names[i].Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
                _indices[name] = i;
        for (var i = 0; i < wordNetIds.Count; i++) _indices[wordNetIds[i]] = i;
    }

    /// <summary>No names known.</summary>
    public static ClassLabels Unknown { get; } = new([], []);

    /// <summary>Number of named classes.</summary>
    public int Count => _names.Length;

    /// <summary>The names of a class, or null.</summary>
    public string? NameOf(int index) => index >= 0 && index < _names.Length ? _names[index] : null;

    /// <summary>Finds a class by name or WordNet id.</summary>
    public bool TryFind(string text, out int index) => _indices.TryGetValue(text, out index);
}
