using System.IO.Enumeration;

namespace DiTRuntime.Cli.Sharding;

/// <summary>Finds the parts that a command line names: files, folders (every .npz in them), or patterns with * and ? in the last place.</summary>
internal static class PartPaths
{
    private const string Extension = ".npz";

    /// <summary>The files, in the order of the words and sorted by name within each.</summary>
    /// <param name="words">What the command line says.</param>
    /// <param name="output">The file to be written; a folder or a pattern does not name it.</param>
    /// <exception cref="InvalidFileException">A word names nothing, or a file is named twice.</exception>
    public static List<string> Expand(IReadOnlyList<string> words, string output)
    {
        var paths = new List<string>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var word in words)
        {
            foreach (var path in ExpandOne(word, Path.GetFullPath(output)))
                paths.Add(seen.Add(Path.GetFullPath(path)) ? path : throw new InvalidFileException(path, "given twice"));
        }

        return paths;
    }

    private static string[] ExpandOne(string word, string output)
    {
        if (Directory.Exists(word)) return Matching(word, word, name => name.EndsWith(Extension, StringComparison.Ordinal), output);
        var pattern = Path.GetFileName(word);
        if (pattern.AsSpan().IndexOfAny('*', '?') < 0 || File.Exists(word)) return [word];
        return Matching(word, Path.GetDirectoryName(word) ?? string.Empty, name => FileSystemName.MatchesSimpleExpression(pattern, name, ignoreCase: false), output);
    }

    private static string[] Matching(string word, string folder, Func<string, bool> matches, string output)
    {
        try
        {
            string[] found =
            [
                .. Directory.GetFiles(folder.Length == 0 ? "." : folder)
                    .Select(path => Path.Combine(folder, Path.GetFileName(path)))
                    .Where(path => matches(Path.GetFileName(path)) && Path.GetFullPath(path) != output)
                    .Order(StringComparer.Ordinal),
            ];
            return found.Length > 0 ? found : throw new InvalidFileException(word, $"no {Extension} file here");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidFileException(word, "the folder cannot be listed", e);
        }
    }
}
