using System.Runtime.InteropServices;
using System.Text;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Interop;

/// <summary>The CUDA run-time compiler, 11.8 or newer. Safe to use from several threads.</summary>
public sealed class NvrtcLibrary : IDisposable
{
    private static readonly (int Major, int Minor) s_oldest = (11, 8);
    private readonly SharedLibrary _library;
    private readonly NvrtcApi _api;

    private unsafe NvrtcLibrary(SharedLibrary library)
    {
        _library = library;
        _api = new NvrtcApi(library);
        int major, minor;
        _api.nvrtcVersion(&major, &minor).ThrowIfFailed(_api, "nvrtcVersion");
        Version = (major, minor);
        File = library.File;
        if (Version.CompareTo(s_oldest) < 0)
        {
            throw new GpuUnavailableException(
                $"NVRTC {major}.{minor} ({File}) is too old: {s_oldest.Major}.{s_oldest.Minor} or newer is needed; {LibrarySearch.Nvrtc.Remedy}");
        }

        LoadBuiltins();
        SupportedArchitectures = ReadArchitectures();
    }

    /// <summary>Its version: 12 and 4 for CUDA 12.4.</summary>
    public (int Major, int Minor) Version { get; }

    /// <summary>Compute capabilities it compiles for, as one number each: 80, 90; ascending.</summary>
    public int[] SupportedArchitectures { get; }

    /// <summary>The file it was loaded from, as far as the system tells.</summary>
    public string File { get; }

    /// <summary>Finds and loads it, the newest first.</summary>
    /// <param name="path">The library's file; null searches as docs/gpu-driver.md says.</param>
    /// <exception cref="GpuUnavailableException">There is none, or it is too old; says what was searched and where to put it.</exception>
    public static NvrtcLibrary Load(string? path = null)
    {
        var library = SharedLibrary.Load(LibrarySearch.Nvrtc, path);
        try
        {
            return new NvrtcLibrary(library);
        }
        catch
        {
            library.Dispose();
            throw;
        }
    }

    /// <summary>Compiles a program to a cubin.</summary>
    /// <param name="title">The source's name in the log.</param>
    /// <param name="source">CUDA C++.</param>
    /// <param name="headers">Text of every file it may include, by the name it is included under.</param>
    /// <param name="options">Options, one a string; a real architecture (-arch=sm_80) among them, or the cubin is empty.</param>
    /// <returns>A source that does not compile is a result, not an exception.</returns>
    /// <exception cref="GpuException">The compiler itself failed, or refused an option.</exception>
    public unsafe NvrtcResult Compile(string title, string source, IReadOnlyDictionary<string, string> headers, IReadOnlyList<string> options)
    {
        ObjectDisposedException.ThrowIf(_library.IsClosed, this);
        using var texts = new Utf8Texts();
        var held = false;
        nint program = 0;
        try
        {
            _library.DangerousAddRef(ref held);
            var pairs = headers.ToArray();
            var bodies = texts.AddAll(pairs.Select(header => header.Value));
            var names = texts.AddAll(pairs.Select(header => header.Key));
            _api.nvrtcCreateProgram(&program, texts.Add(source), texts.Add(title), pairs.Length, bodies, names).ThrowIfFailed(_api, "nvrtcCreateProgram");
            var status = _api.nvrtcCompileProgram(program, options.Count, texts.AddAll(options));
            var log = ReadLog(program);
            if (status.IsCompilationError) return new NvrtcResult(Ok: false, [], log);
            status.ThrowIfFailed(_api, "nvrtcCompileProgram", log);
            return new NvrtcResult(Ok: true, ReadCubin(program), log);
        }
        finally
        {
            if (program != 0) _api.nvrtcDestroyProgram(&program);
            if (held) _library.DangerousRelease();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _library.Dispose();

    // libnvrtc loads its builtins by bare name when it first compiles, and the system does not look beside libnvrtc for them.
    private void LoadBuiltins()
    {
        if (Path.GetDirectoryName(File) is not { Length: > 0 } folder || !Directory.Exists(folder)) return;
        var (major, minor) = Version;
        var name = OperatingSystem.IsWindows() ? $"nvrtc-builtins64_{major}{minor}.dll" : $"libnvrtc-builtins.so.{major}.{minor}";
        // Never freed: libnvrtc keeps pointers into it.
        NativeLibrary.TryLoad(Path.Combine(folder, name), out _);
    }

    private unsafe int[] ReadArchitectures()
    {
        int count;
        _api.nvrtcGetNumSupportedArchs(&count).ThrowIfFailed(_api, "nvrtcGetNumSupportedArchs");
        var architectures = new int[count];
        fixed (int* p = architectures) _api.nvrtcGetSupportedArchs(p).ThrowIfFailed(_api, "nvrtcGetSupportedArchs");
        return architectures;
    }

    private unsafe string ReadLog(nint program)
    {
        nuint size;
        _api.nvrtcGetProgramLogSize(program, &size).ThrowIfFailed(_api, "nvrtcGetProgramLogSize");
        var text = new byte[size];
        fixed (byte* p = text)
        {
            if (size > 0) _api.nvrtcGetProgramLog(program, p).ThrowIfFailed(_api, "nvrtcGetProgramLog");
        }

        return Encoding.UTF8.GetString(text).TrimEnd('\0').Trim();
    }

    private unsafe byte[] ReadCubin(nint program)
    {
        nuint size;
        _api.nvrtcGetCUBINSize(program, &size).ThrowIfFailed(_api, "nvrtcGetCUBINSize");
        var cubin = new byte[size];
        fixed (byte* p = cubin)
        {
            if (size > 0) _api.nvrtcGetCUBIN(program, p).ThrowIfFailed(_api, "nvrtcGetCUBIN");
        }

        return cubin;
    }
}

/// <summary>What the run-time compiler made.</summary>
/// <param name="Ok">Whether the source compiles.</param>
/// <param name="Cubin">The code; empty where it does not.</param>
/// <param name="Log">Errors, warnings and, with --ptxas-options=-v, registers and spills.</param>
public sealed record NvrtcResult(bool Ok, byte[] Cubin, string Log);
