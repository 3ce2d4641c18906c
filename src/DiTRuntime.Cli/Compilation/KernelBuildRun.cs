using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Interop;

namespace DiTRuntime.Cli.Compilation;

/// <summary>Compiles kernels into the cache.</summary>
internal static class KernelBuildRun
{
    /// <summary>Compiles every kernel for every target.</summary>
    /// <param name="session">Where to report; its threads compile.</param>
    /// <param name="specs">The kernels.</param>
    /// <param name="targets">What to compile for.</param>
    /// <param name="folder">The cache's folder, or null for the user's own.</param>
    /// <exception cref="GpuUnavailableException">There is no NVRTC, or it does not know a target.</exception>
    /// <exception cref="GpuException">Some do not compile; the others are in the cache.</exception>
    public static void Run(Session session, IReadOnlyList<KernelSpec> specs, IReadOnlyList<TargetArchitecture> targets, string? folder)
    {
        var clock = Stopwatch.StartNew();
        using var library = NvrtcLibrary.Load();
        var cache = new KernelCache(folder, session.Note);
        var compilers = targets.Select(target => new CachingCompiler(new NvrtcCompiler(library, target), cache)).ToArray();
        var failures = Compile(session, specs, compilers);
        if (failures.Count > 0)
            throw new GpuException(string.Create(CultureInfo.InvariantCulture, $"{failures.Count} of {specs.Count * targets.Count} kernels do not compile; {failures[0].Message}"), failures[0]);
        Report(session, specs, targets, compilers, cache, clock.Elapsed);
    }

    private static IReadOnlyList<KernelCompilationException> Compile(Session session, IReadOnlyList<KernelSpec> specs, CachingCompiler[] compilers)
    {
        IReadOnlyList<KernelCompilationException> failures = [];
        session.WithProgress(display =>
        {
            var done = 0;
            failures = KernelBuild.Run(specs, compilers, session.ThreadCount, Built, session.Cancellation);

            void Built(IKernelCompiler compiler, KernelImage image)
            {
                display.Report("compiling", "kernels", ++done, specs.Count * compilers.Length);
                if (CompilationReport.WarningsIn(image.Log) is [var first, ..]) session.Note($"{image.Title}: {first}");
            }
        });
        return failures;
    }

    private static void Report(
        Session session, IReadOnlyList<KernelSpec> specs, IReadOnlyList<TargetArchitecture> targets, CachingCompiler[] compilers, KernelCache cache, TimeSpan elapsed)
    {
        if (session.Json)
        {
            session.Print(new JsonObject
            {
                ["cache"] = cache.Folder,
                ["seconds"] = elapsed.TotalSeconds,
                ["targets"] = new JsonArray([.. targets.Zip(compilers, (target, compiler) => (JsonNode)new JsonObject
                {
                    ["arch"] = target.Name,
                    ["kernels"] = specs.Count,
                    ["compiled"] = compiler.CompiledCount,
                })]),
            });
            return;
        }

        foreach (var (target, compiler) in targets.Zip(compilers)) session.Print($"{target}: {specs.Count} kernels, {compiler.CompiledCount} of them compiled now");
        session.Print(string.Create(CultureInfo.InvariantCulture, $"{cache.Folder}: {elapsed.TotalSeconds:0.0} s"));
    }
}
