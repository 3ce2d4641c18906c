using System.Globalization;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Interop;

namespace DiTRuntime.Cuda.Compilation;

/// <summary>Compiles kernels to cubins with the CUDA run-time compiler; the headers are handed over in memory, none is read from disk.</summary>
/// <remarks>NVRTC 12 compiles on as many threads as call it (docs/kernels.md has the measurement).</remarks>
public sealed class NvrtcCompiler : IKernelCompiler
{
    private readonly NvrtcLibrary _library;
    private readonly IReadOnlyDictionary<string, string> _sources;
    private readonly Dictionary<string, string> _headers;
    private readonly string[] _options;

    /// <param name="library">The compiler; stays the caller's.</param>
    /// <param name="target">What to compile for.</param>
    /// <param name="sources">Path below kernels/ → text; <see cref="KernelSources.All"/> unless given.</param>
    /// <exception cref="GpuUnavailableException">This NVRTC does not know the architecture; names those it does.</exception>
    public NvrtcCompiler(NvrtcLibrary library, TargetArchitecture target, IReadOnlyDictionary<string, string>? sources = null)
    {
        var (major, minor) = library.Version;
        if (!library.SupportedArchitectures.Contains(target.Number))
        {
            var known = string.Join(", ", library.SupportedArchitectures.Select(number => new TargetArchitecture(number).Name));
            throw new GpuUnavailableException(string.Create(CultureInfo.InvariantCulture, $"NVRTC {major}.{minor} ({library.File}) does not compile for {target}, only for {known}"));
        }

        _library = library;
        _sources = sources ?? KernelSources.All;
        _headers = _sources.Where(file => file.Key.EndsWith(".h", StringComparison.Ordinal) || file.Key.EndsWith(".cuh", StringComparison.Ordinal))
            .ToDictionary(StringComparer.Ordinal);
        _options =
        [
            $"--gpu-architecture={target}",
            "--std=c++17",
            // What is not marked otherwise runs on the device: constexpr functions need no word of their own.
            "-default-device",
            "--ptxas-options=-v",
            "--ptxas-options=-warn-spills",
            string.Create(CultureInfo.InvariantCulture, $"-DDIT_ARCHITECTURE={target.Number}"),
        ];
        Identity = string.Create(CultureInfo.InvariantCulture, $"nvrtc {major}.{minor} {target} {string.Join(' ', _options[1..])}");
        Target = target;
    }

    /// <summary>What it compiles for.</summary>
    public TargetArchitecture Target { get; }

    /// <inheritdoc/>
    public string Name => string.Create(CultureInfo.InvariantCulture, $"NVRTC {_library.Version.Major}.{_library.Version.Minor}");

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    /// <exception cref="GpuException">The compiler itself failed.</exception>
    public KernelImage Compile(KernelSpec spec)
    {
        if (!_sources.TryGetValue(spec.File, out var source)) throw new KernelCompilationException(spec, $"there is no source {spec.File}");
        var result = _library.Compile(spec.File, source, _headers, [.. _options, .. spec.Constants.Select(constant => "-D" + constant)]);
        return result.Ok ? new KernelImage(spec.Text, result.Cubin, result.Log) : throw new KernelCompilationException(spec, result.Log);
    }
}
