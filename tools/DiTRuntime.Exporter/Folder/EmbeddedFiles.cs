namespace DiTRuntime.Exporter.Folder;

/// <summary>The sources and templates that this assembly carries.</summary>
internal static class EmbeddedFiles
{
    /// <summary>Names that begin so: "runtime/", "templates/".</summary>
    /// <returns>What follows, in order.</returns>
    public static IEnumerable<string> Under(string prefix) => typeof(EmbeddedFiles).Assembly.GetManifestResourceNames()
        .Select(name => name.Replace('\\', '/'))
        .Where(name => name.StartsWith(prefix, StringComparison.Ordinal))
        .Select(name => name[prefix.Length..])
        .Order(StringComparer.Ordinal);

    /// <summary>The text of a file, or null where there is none of this name.</summary>
    public static string? TryRead(string name)
    {
        var assembly = typeof(EmbeddedFiles).Assembly;
        using var stream = assembly.GetManifestResourceStream(name) ?? assembly.GetManifestResourceStream(name.Replace('/', '\\'));
        if (stream is null) return null;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd().ReplaceLineEndings("\n");
    }

    /// <summary>The text of a file.</summary>
    /// <exception cref="InvalidOperationException">The assembly was built without it.</exception>
    public static string Read(string name) => TryRead(name) ?? throw new InvalidOperationException($"the exporter was built without {name}");
}
