using System.Globalization;

namespace DiTRuntime.Models;

/// <summary>Names and WordNet ids of a model's classes.</summary>
public sealed class ClassLabels
{
    private readonly Dictionary<string, int> _indices = new(StringComparer.OrdinalIgnoreCase);
    private readonly string[] _names;
    private readonly string[] _wordNetIds;

    /// <param name="names">Per class, its names separated by commas ("tench, Tinca tinca"); empty when unknown.</param>
    /// <param name="wordNetIds">Per class, its WordNet id ("n01440764"); empty when unknown.</param>
    public ClassLabels(IReadOnlyList<string> names, IReadOnlyList<string> wordNetIds)
    {
        _names = [.. names];
        _wordNetIds = [.. wordNetIds];
        // A name that several classes share goes to the last one, as in diffusers.
        for (var i = 0; i < names.Count; i++)
            foreach (var name in names[i].Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
                _indices[name] = i;
        for (var i = 0; i < wordNetIds.Count; i++) _indices[wordNetIds[i]] = i;
        // All names of a class as they stand here, commas included; a name of its own goes first.
        for (var i = 0; i < names.Count; i++)
            if (names[i].Length > 0) _indices.TryAdd(names[i], i);
    }

    /// <summary>No names known.</summary>
    public static ClassLabels Unknown { get; } = new([], []);

    /// <summary>Number of named classes.</summary>
    public int Count => _names.Length;

    /// <summary>The names of a class, or null.</summary>
    public string? NameOf(int index) => index >= 0 && index < _names.Length ? _names[index] : null;

    /// <summary>The WordNet id of a class, or null.</summary>
    public string? WordNetIdOf(int index) => index >= 0 && index < _wordNetIds.Length ? _wordNetIds[index] : null;

    /// <summary>Finds a class by one of its names, all of them, or its WordNet id.</summary>
    public bool TryFind(string text, out int index) => _indices.TryGetValue(text, out index);

    /// <summary>Understands a class as people write it.</summary>
    /// <param name="word">Its index, name or WordNet id.</param>
    /// <param name="classCount">Number of classes, without the null class.</param>
    /// <param name="field">What messages call the place where the word stands.</param>
    /// <exception cref="UsageException">An unknown class; the message says what there is.</exception>
    public int Parse(string word, int classCount, string field)
    {
        if (int.TryParse(word, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var index))
        {
            if (index >= 0 && index < classCount) return index;
            throw new UsageException($"{field} {word}: this model's classes are 0 to {classCount - 1}");
        }

        if (TryFind(word, out index)) return index;
        var known = Count > 0 ? $"a name, a WordNet id, or 0 to {classCount - 1}" : $"0 to {classCount - 1}, for this model has no names";
        throw new UsageException($"{field} '{word}': no such class; expected {known}");
    }
}
