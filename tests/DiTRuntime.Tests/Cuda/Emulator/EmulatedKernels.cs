using DiTRuntime.Cuda.Compilation;

namespace DiTRuntime.Tests.Cuda.Emulator;

/// <summary>Kernels written for a test: sources beside the project's own.</summary>
internal static class EmulatedKernels
{
    /// <summary>A compiler that also knows these files.</summary>
    public static IKernelCompiler Compiler(params ReadOnlySpan<(string Path, string Text)> files)
    {
        var sources = new SortedDictionary<string, string>(KernelSources.All.ToDictionary(), StringComparer.Ordinal);
        foreach (var (path, text) in files) sources[path] = text;
        return new TestDevice.DirectoryCache(new HostCompiler(sources), sources);
    }
}
