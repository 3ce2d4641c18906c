namespace DiTRuntime.Cli.Serving;

/// <summary>A file of API keys: one a line, <c>#</c> begins a comment line.</summary>
internal static class KeyFile
{
    /// <summary>Reads the keys. Messages name the file and the line, and never a key.</summary>
    /// <exception cref="InvalidFileException">It cannot be read, holds no key, or one that no header can carry.</exception>
    public static IReadOnlyList<string> Read(string path)
    {
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidFileException(path, "the file of keys cannot be read", e);
        }

        var keys = new List<string>();
        for (var i = 0; i < lines.Length; i++)
        {
            var key = lines[i].Trim();
            if (key.Length == 0 || key[0] == '#') continue;
            if (key.Any(c => c is <= ' ' or > '~')) throw new InvalidFileException(path, $"line {i + 1}: expected a key of printable ASCII characters without spaces");
            keys.Add(key);
        }

        return keys.Count > 0 ? keys : throw new InvalidFileException(path, "no key in it: expected one on each line");
    }
}
