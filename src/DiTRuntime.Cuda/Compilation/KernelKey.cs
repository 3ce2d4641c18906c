using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;

namespace DiTRuntime.Cuda.Compilation;

/// <summary>What a compiled kernel depends on: its specification, its compiler, and the text of every source it can include.</summary>
/// <param name="Kernel">The specification's text.</param>
/// <param name="Compiler">The compiler's identity: version, target, options.</param>
/// <param name="Hash">SHA-256 of both and of the sources, in hexadecimal.</param>
public sealed partial record KernelKey(string Kernel, string Compiler, string Hash)
{
    /// <summary>Text the emulated device compiles into every kernel, whether the kernel includes it or not.</summary>
    private const string EmulatorFolder = "emulator/";

    /// <summary>The key of a kernel.</summary>
    /// <param name="kernel">A <see cref="KernelSpec.Text"/>: begins with the source's path and a colon.</param>
    /// <param name="compiler">A <see cref="IKernelCompiler.Identity"/>.</param>
    /// <param name="sources">Path below kernels/ → text.</param>
    public static KernelKey Of(string kernel, string compiler, IReadOnlyDictionary<string, string> sources)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Append(hash, kernel);
        Append(hash, compiler);
        foreach (var path in Reachable(kernel[..Math.Max(0, kernel.IndexOf(':', StringComparison.Ordinal))], sources))
        {
            Append(hash, path);
            Append(hash, sources[path]);
        }

        return new KernelKey(kernel, compiler, Convert.ToHexStringLower(hash.GetHashAndReset()));
    }

    /// <summary>The sources a file includes, directly or not, under whatever condition.</summary>
    private static SortedSet<string> Reachable(string file, IReadOnlyDictionary<string, string> sources)
    {
        var found = new SortedSet<string>(StringComparer.Ordinal);
        var open = new Stack<string>(sources.Keys.Where(path => path.StartsWith(EmulatorFolder, StringComparison.Ordinal)).Append(file));
        while (open.TryPop(out var path))
        {
            if (!sources.TryGetValue(path, out var text) || !found.Add(path)) continue;
            foreach (Match include in IncludePattern().Matches(text)) open.Push(include.Groups[1].Value);
        }

        return found;
    }

    /// <summary>The length goes first, so that no two lists of texts are the same bytes.</summary>
    private static void Append(IncrementalHash hash, string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        hash.AppendData(BitConverter.GetBytes(bytes.Length));
        hash.AppendData(bytes);
    }

    [GeneratedRegex("""^\s*#\s*include\s*["<]([^">]+)[">]""", RegexOptions.Multiline)]
    private static partial Regex IncludePattern();
}
