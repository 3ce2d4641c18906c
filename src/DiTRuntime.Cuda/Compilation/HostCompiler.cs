using System.ComponentModel;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Compilation;

/// <summary>Compiles kernels for the emulated device with the host's C++ compiler: $CXX, or g++, or clang++. Its runtime is compiled the same way.</summary>
public sealed class HostCompiler : IKernelCompiler
{
    private const string Output = "kernel.so";

    private static readonly string[] s_options =
    [
        "-x", "c++", "-std=c++17", "-march=native", "-shared", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti", "-fno-strict-aliasing",
        "-fno-math-errno", "-fcf-protection=none", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-DDIT_EMULATED", "-I.",
    ];

    // A kernel's arithmetic is what its source says: the compiler fuses no products on its own.
    private static readonly string[] s_kernelOptions = ["-O2", "-ffp-contract=off"];
    private static readonly string[] s_runtimeOptions = ["-O3", "-ftls-model=initial-exec", "-pthread"];

    private readonly IReadOnlyDictionary<string, string> _sources;
    private readonly Lazy<(string Compiler, string Identity)> _compiler;

    /// <param name="sources">Path below kernels/ → text; with common/ and emulator/ in it. <see cref="KernelSources.All"/> where null.</param>
    public HostCompiler(IReadOnlyDictionary<string, string>? sources = null)
    {
        _sources = sources ?? KernelSources.All;
        _compiler = new(Find);
    }

    /// <summary>The emulator's runtime, as a kernel to be compiled: <see cref="Devices.Emulated.EmulatedDevice"/> loads it.</summary>
    public static KernelSpec Runtime { get; } = new("emulator/runtime.cpp", "dit_emulator_create");

    /// <inheritdoc/>
    /// <exception cref="GpuUnavailableException">There is no C++ compiler here.</exception>
    // What follows in the identity are the processor and the options, for the cache.
    public string Name => Identity.Split(", target ")[0];

    /// <inheritdoc/>
    /// <exception cref="GpuUnavailableException">There is no C++ compiler here.</exception>
    public string Identity => _compiler.Value.Identity;

    /// <inheritdoc/>
    /// <exception cref="GpuUnavailableException">There is no C++ compiler here.</exception>
    public KernelImage Compile(KernelSpec spec)
    {
        var compiler = _compiler.Value.Compiler;
        if (!_sources.ContainsKey(spec.File)) throw new KernelCompilationException(spec, $"there is no source {spec.File}");
        var own = spec.File == Runtime.File ? s_runtimeOptions : s_kernelOptions;
        var directory = Directory.CreateTempSubdirectory("dit-kernel-").FullName;
        try
        {
            WriteSources(directory);
            var (exitCode, log) = Run(compiler, [.. s_options, .. own, .. spec.Constants.Select(c => "-D" + c), spec.File, "-o", Output], directory);
            if (exitCode != 0) throw new KernelCompilationException(spec, log.Trim());
            return new KernelImage(spec.Text, File.ReadAllBytes(Path.Combine(directory, Output)), log.Trim());
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static (string Compiler, string Identity) Find()
    {
        var asked = Environment.GetEnvironmentVariable("CXX");
        foreach (var name in string.IsNullOrEmpty(asked) ? ["g++", "clang++"] : new[] { asked })
        {
            try
            {
                var (_, version) = Run(name, ["--version"], null);
                // What -march=native means here: code made for one processor need not run on another that shares the cache.
                var (exitCode, target) = Run(name, ["-march=native", "-dM", "-E", "-x", "c++", "/dev/null"], null);
                if (exitCode != 0) continue;
                var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(target)))[..12];
                return (name, $"{version.Split('\n')[0].Trim()}, target {hash}, {string.Join(' ', s_options)} | {string.Join(' ', s_kernelOptions)} | {string.Join(' ', s_runtimeOptions)}");
            }
            catch (Win32Exception)
            {
                // Not installed; the next name.
            }
        }

        throw new GpuUnavailableException(string.IsNullOrEmpty(asked)
            ? "the emulated device needs a C++17 compiler and neither g++ nor clang++ is on the PATH; install one (Debian: apt install g++), or name it in CXX"
            : $"the emulated device needs a C++17 compiler and {asked}, which CXX names, does not run");
    }

    private static (int ExitCode, string Output) Run(string program, IEnumerable<string> arguments, string? directory)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true, WorkingDirectory = directory ?? "" };
        start.Environment["LC_ALL"] = "C";
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + errors.Result);
    }

    // The compiler runs inside the folder, so that messages name files as they are named below kernels/.
    private void WriteSources(string directory)
    {
        foreach (var (path, text) in _sources)
        {
            var file = Path.Combine(directory, path);
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            File.WriteAllText(file, text);
        }
    }
}
