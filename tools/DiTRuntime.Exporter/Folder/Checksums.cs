using System.Security.Cryptography;
using System.Text;

namespace DiTRuntime.Exporter.Folder;

/// <summary>The hashes of every file of a folder, as sha256sum writes them.</summary>
internal static class Checksums
{
    /// <summary>The file's name.</summary>
    public const string FileName = "SHA256SUMS";

    /// <summary>Writes the file; it names every other one.</summary>
    public static void Write(string folder)
    {
        var text = new StringBuilder();
        foreach (var file in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            using var stream = File.OpenRead(file);
            var name = Path.GetRelativePath(folder, file).Replace('\\', '/');
            if (name != FileName) text.Append(Convert.ToHexStringLower(SHA256.HashData(stream))).Append("  ").Append(name).Append('\n');
        }

        File.WriteAllText(Path.Combine(folder, FileName), text.ToString());
    }
}
