using System.Diagnostics;
using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Interop;

/// <summary>A native library, loaded while this lives.</summary>
internal sealed class SharedLibrary : SafeHandle
{
    private readonly string _asked;

    private SharedLibrary(nint handle, string asked)
        : base(0, ownsHandle: true)
    {
        _asked = asked;
        SetHandle(handle);
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>The file it was loaded from; where the system's search found it and does not tell, the name asked for.</summary>
    public string File => Path.IsPathRooted(_asked) ? _asked : LoadedFile(_asked) ?? _asked;

    /// <summary>Loads the first library of a search that is there.</summary>
    /// <param name="search">Names and folders.</param>
    /// <param name="file">The only file to try; null for the file that the search's variable names, or the whole search.</param>
    /// <exception cref="GpuUnavailableException">None is there; says what was searched and where to put it.</exception>
    public static SharedLibrary Load(LibrarySearch search, string? file = null)
    {
        var candidates = search.Candidates(file);
        foreach (var candidate in candidates)
        {
            if (NativeLibrary.TryLoad(candidate, out var handle)) return new SharedLibrary(handle, candidate);
        }

        throw new GpuUnavailableException(search.Missing(candidates));
    }

    /// <summary>A function's address.</summary>
    /// <exception cref="GpuUnavailableException">The library has no such function.</exception>
    public nint Function(string name) =>
        TryFunction(name) is var address and not 0 ? address : throw new GpuUnavailableException(
            $"{File} has no function {name}: another library, or one too old, bears its name");

    /// <summary>A function's address, or 0.</summary>
    public nint TryFunction(string name) => NativeLibrary.TryGetExport(handle, name, out var address) ? address : 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        NativeLibrary.Free(handle);
        return true;
    }

    private static string? LoadedFile(string name)
    {
        using var process = Process.GetCurrentProcess();
        foreach (ProcessModule module in process.Modules)
        {
            using (module)
            {
                // The system follows libx.so.12 to libx.so.12.4.127 and then tells the latter.
                if (Path.GetFileName(module.FileName) is { } loaded && loaded.StartsWith(name, StringComparison.OrdinalIgnoreCase)) return module.FileName;
            }
        }

        return null;
    }
}
