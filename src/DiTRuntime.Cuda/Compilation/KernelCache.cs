using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Compilation;

/// <summary>A compiled kernel as it lies in the cache.</summary>
/// <param name="Key">What it was made from.</param>
/// <param name="Image">The code and the compiler's log.</param>
public sealed record CachedKernel(KernelKey Key, KernelImage Image);

/// <summary>
/// Compiled kernels on disk, one file each. Any number of threads and processes may share a folder: a file appears whole or not at all, and two
/// that make the same kernel write the same file.
/// </summary>
/// <remarks>
/// Nothing the folder does is an error: a file that is cut short, damaged or of another key counts as absent and is replaced; a folder that cannot be
/// written only costs the time to compile again, and is remarked once.
/// </remarks>
public sealed class KernelCache
{
    private const string Extension = ".kernel";
    private readonly Action<string>? _remark;
    private int _remarked;

    /// <param name="folder">Where; made when first needed. <see cref="DefaultFolder"/> unless given.</param>
    /// <param name="remark">Told, once, why kernels are not kept.</param>
    public KernelCache(string? folder = null, Action<string>? remark = null)
    {
        Folder = folder ?? DefaultFolder;
        _remark = remark;
    }

    /// <summary>DIT_CACHE, or ditruntime/kernels in the user's own cache folder; null for a user who has none.</summary>
    public static string? DefaultFolder
    {
        get
        {
            if (Environment.GetEnvironmentVariable("DIT_CACHE") is { Length: > 0 } given) return given;
            var home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
            var root = OperatingSystem.IsWindows() ? Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData)
                : Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg ? xdg
                : home.Length == 0 ? ""
                : Path.Combine(home, OperatingSystem.IsMacOS() ? "Library/Caches" : ".cache");
            // Never a folder others can write to: what lies in the cache is run.
            return root.Length == 0 ? null : Path.Combine(root, "ditruntime", "kernels");
        }
    }

    /// <summary>Where kernels are kept; null keeps none.</summary>
    public string? Folder { get; }

    /// <summary>A kernel, if it is there and whole.</summary>
    public KernelImage? Find(KernelKey key) =>
        Folder is { } folder && Read(PathOf(folder, key)) is { } cached && cached.Key == key ? cached.Image : null;

    /// <summary>Keeps a kernel; what was there under its key is replaced.</summary>
    public void Store(KernelKey key, KernelImage image)
    {
        if (Folder is not { } folder)
        {
            Remark("there is no folder for them; DIT_CACHE names one");
            return;
        }

        try
        {
            Directory.CreateDirectory(folder);
            AtomicFile.Write(PathOf(folder, key), stream => KernelFile.Write(stream, new CachedKernel(key, image)));
        }
        catch (Exception e) when (e is OutputException or IOException or UnauthorizedAccessException)
        {
            Remark(e.Message);
        }
    }

    /// <summary>Every whole kernel in the folder, ordered by kernel and compiler; those of older sources too.</summary>
    public IReadOnlyList<CachedKernel> List()
    {
        if (!Directory.Exists(Folder)) return [];
        return
        [
            .. Directory.EnumerateFiles(Folder, "*" + Extension).Select(Read).OfType<CachedKernel>()
                .OrderBy(cached => cached.Key.Kernel, StringComparer.Ordinal).ThenBy(cached => cached.Key.Compiler, StringComparer.Ordinal),
        ];
    }

    private static CachedKernel? Read(string path)
    {
        try
        {
            return KernelFile.Parse(File.ReadAllBytes(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static string PathOf(string folder, KernelKey key) => Path.Combine(folder, key.Hash + Extension);

    private void Remark(string why)
    {
        if (Interlocked.Exchange(ref _remarked, 1) == 0) _remark?.Invoke($"compiled kernels are not kept: {why}");
    }
}
