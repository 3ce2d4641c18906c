using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Interop;

namespace DiTRuntime.Tests.Cuda.Compilation;

/// <summary>The compiler and the tools that tests of compiled kernels need. Where they are absent the test is skipped; in CI it fails.</summary>
internal static class TestCompilers
{
    private static readonly Lazy<(NvrtcLibrary? Library, string Problem)> s_library = new(Load);

    /// <summary>What tools/fetch-nvrtc.sh filled, or the folder named instead.</summary>
    private static string Folder => Environment.GetEnvironmentVariable(LibrarySearch.FolderVariable) is { Length: > 0 } folder ? folder : Path.Combine(TestFiles.Root, ".build/nvrtc");

    /// <summary>The run-time compiler.</summary>
    public static NvrtcLibrary Nvrtc => s_library.Value.Library ?? throw Missing(s_library.Value.Problem);

    /// <summary>Kernels compiled by earlier runs in this checkout.</summary>
    public static KernelCache Cache { get; } = new(Path.Combine(TestFiles.Root, ".build/kernel-cache"), TestContext.Progress.WriteLine);

    /// <summary>NVIDIA's disassembler.</summary>
    public static string Nvdisasm
    {
        get
        {
            var places = new[] { Path.Combine(Folder, "bin"), Path.Combine(Folder, "../bin") }.Concat((Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator));
            return places.Select(place => Path.Combine(place, "nvdisasm")).FirstOrDefault(File.Exists)
                ?? throw Missing("nvdisasm is not here; tools/fetch-nvrtc.sh --sass fetches it");
        }
    }

    /// <summary>A compiled kernel of the product, from the cache where it is there.</summary>
    public static KernelImage Compile(KernelSpec spec, TargetArchitecture target) => new CachingCompiler(new NvrtcCompiler(Nvrtc, target), Cache).Compile(spec);

    private static (NvrtcLibrary? Library, string Problem) Load()
    {
        var fetched = Path.Combine(Folder, "lib", "libnvrtc.so.12");
        try
        {
            return (NvrtcLibrary.Load(File.Exists(fetched) ? fetched : null), "");
        }
        catch (GpuUnavailableException e)
        {
            return (null, e.Message);
        }
    }

    private static Exception Missing(string problem)
    {
        if (Environment.GetEnvironmentVariable("CI") == "true") return new AssertionException($"CI must have this: {problem}");
        return new IgnoreException(problem);
    }
}
