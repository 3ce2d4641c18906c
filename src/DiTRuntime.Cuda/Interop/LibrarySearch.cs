namespace DiTRuntime.Cuda.Interop;

/// <summary>Under which names a native library goes, and where it is looked for.</summary>
/// <remarks>
/// The folder in DIT_CUDA_PATH comes first, with its lib64, lib and bin; then the system's own search; then the toolkit's usual places. Newer names
/// come first. A variable of the library's own names one file and ends the search.
/// </remarks>
internal sealed class LibrarySearch
{
    /// <summary>The variable that names a folder to look in first.</summary>
    public const string FolderVariable = "DIT_CUDA_PATH";

    private readonly string[] _names;

    private LibrarySearch(string title, string fileVariable, string remedy, string[] linux, string[] windows)
    {
        Title = title;
        FileVariable = fileVariable;
        Remedy = remedy;
        _names = OperatingSystem.IsWindows() ? windows : linux;
    }

    /// <summary>The driver's interface; comes with the driver, never with the toolkit.</summary>
    public static LibrarySearch Driver { get; } = new(
        "the NVIDIA driver's libcuda", "DIT_LIBCUDA", "install the NVIDIA driver",
        ["libcuda.so.1"],
        ["nvcuda.dll"]);

    /// <summary>The run-time compiler, 13 down to 11.8 (whose name says 11.2).</summary>
    public static LibrarySearch Nvrtc { get; } = new(
        "the CUDA run-time compiler libnvrtc", "DIT_LIBNVRTC", $"install NVRTC 11.8 to 13 and libnvrtc-builtins beside it, or set {FolderVariable} to their folder",
        ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so"],
        ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll", "nvrtc64_112_0.dll"]);

    /// <summary>The matrix products that benchmarks compare with.</summary>
    public static LibrarySearch CublasLt { get; } = new(
        "libcublasLt", "DIT_LIBCUBLASLT", $"install cuBLAS 11 to 13, or set {FolderVariable} to its folder; only benchmarks use it",
        ["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11"],
        ["cublasLt64_13.dll", "cublasLt64_12.dll", "cublasLt64_11.dll"]);

    /// <summary>What it is, for messages.</summary>
    public string Title { get; }

    /// <summary>The variable that names the library's file.</summary>
    public string FileVariable { get; }

    /// <summary>What to do where it is missing.</summary>
    public string Remedy { get; }

    /// <summary>What to load, in order: full paths, and bare names for the system's own search.</summary>
    /// <param name="file">The only file to try, or null.</param>
    public IReadOnlyList<string> Candidates(string? file)
    {
        file ??= Variable(FileVariable);
        if (file is not null) return [Path.GetFullPath(file)];
        var candidates = new List<string>();
        if (Variable(FolderVariable) is { } folder) AddFiles(candidates, folder);
        candidates.AddRange(_names);
        AddFiles(candidates, AppContext.BaseDirectory);
        if (Variable("CUDA_PATH") is { } toolkit) AddFiles(candidates, toolkit);
        if (!OperatingSystem.IsWindows()) AddFiles(candidates, "/usr/local/cuda");
        return candidates;
    }

    /// <summary>What to tell the user when no candidate could be loaded.</summary>
    public string Missing(IReadOnlyList<string> candidates)
    {
        var files = candidates.Where(Path.IsPathRooted).ToArray();
        if (files.Length == candidates.Count && files.Length == 1)
        {
            var state = File.Exists(files[0]) ? "cannot be loaded" : "does not exist";
            return $"{Title} is not here: {files[0]} {state}; {Remedy}";
        }

        var unusable = files.Where(File.Exists).ToArray();
        var found = unusable.Length == 0 ? string.Empty : $" (there, but not loadable: {string.Join(", ", unusable)})";
        var extra = Variable(FolderVariable) is { } folder ? $" and in {FolderVariable}={folder}" : string.Empty;
        return $"{Title} is not here: searched for {string.Join(", ", _names)} in the system's library folders{extra}{found}; {Remedy}";
    }

    private void AddFiles(List<string> candidates, string folder)
    {
        foreach (var place in new[] { folder, Path.Combine(folder, "lib64"), Path.Combine(folder, "lib"), Path.Combine(folder, "bin") })
        {
            foreach (var name in _names)
            {
                var file = Path.GetFullPath(Path.Combine(place, name));
                if (File.Exists(file)) candidates.Add(file);
            }
        }
    }

    private static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
}
