using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Tests.Cuda.Emulator;

/// <summary>Kernels written for these tests: sources beside the project's own.</summary>
internal static class EmulatedKernels
{
    private static readonly SortedDictionary<string, string> s_sources = Sources();

    /// <summary>Knows kernels/ and, under test/, the files beside this one.</summary>
    public static IKernelCompiler Compiler { get; } = TestDevice.Cached(s_sources);

    /// <summary>All kernels of one file, compiled together.</summary>
    public static GpuModule Load(IGpuDevice device, string file) => device.Load(Compiler.Compile(new KernelSpec($"test/{file}", "")));

    private static SortedDictionary<string, string> Sources()
    {
        var sources = new SortedDictionary<string, string>(KernelSources.All.ToDictionary(), StringComparer.Ordinal);
        foreach (var file in Directory.EnumerateFiles(Path.Combine(TestFiles.Root, "tests/DiTRuntime.Tests/Cuda/Emulator/kernels"), "*.cu"))
            sources["test/" + Path.GetFileName(file)] = File.ReadAllText(file);
        return sources;
    }
}
