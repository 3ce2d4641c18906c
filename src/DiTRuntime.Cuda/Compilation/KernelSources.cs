using System.Reflection;

namespace DiTRuntime.Cuda.Compilation;

/// <summary>The kernels' source text, as it lies in this assembly: path below kernels/ → text.</summary>
public static class KernelSources
{
    private const string Prefix = "kernels/";

    /// <summary>Every file by its path below kernels/.</summary>
    public static IReadOnlyDictionary<string, string> All { get; } = ReadAll();

    private static SortedDictionary<string, string> ReadAll()
    {
        var files = new SortedDictionary<string, string>(StringComparer.Ordinal);
        var assembly = Assembly.GetExecutingAssembly();
        foreach (var name in assembly.GetManifestResourceNames())
        {
            if (!name.StartsWith(Prefix, StringComparison.Ordinal)) continue;
            using var reader = new StreamReader(assembly.GetManifestResourceStream(name)!);
            files.Add(name[Prefix.Length..].Replace('\\', '/'), reader.ReadToEnd());
        }

        return files;
    }
}
