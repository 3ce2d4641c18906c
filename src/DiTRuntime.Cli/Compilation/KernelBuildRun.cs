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
    /// <summary>Compiles kernels for some targets.</summary>
    /// <param name="session">Where to report; its threads compile.</param>
    /// <param name="plans">The kernels each target needs.</param>
    /// <param name="folder">The cache's folder, or null for the user's own.</param>
    /// <exception cref="GpuUnavailableException">There is no NVRTC, or it does not know a target.</exception>
    /// <exception cref="GpuException">Some do not compile; the others are in the cache.</exception>
    public static void Run(Session session, IReadOnlyList<(TargetArchitecture Target, IReadOnlyList<KernelSpec> Specs)> plans, string? folder)
    {
        var clock = Stopwatch.StartNew();
        using var library = NvrtcLibrary.Load();
        var cache = new KernelCache(folder, session.Note);
        var compilers = plans.Select(plan => new CachingCompiler(new NvrtcCompiler(library, plan.Target), cache)).ToArray();
        var work = plans.Zip(compilers).SelectMany(pair => pair.First.Specs.Select(spec => ((IKernelCompiler)pair.Second, spec))).ToArray();
        var failures = Compile(session, work);
        if (failures.Count > 0)
            throw new GpuException(string.Create(CultureInfo.InvariantCulture, $"{failures.Count} of {work.Length} kernels do not compile; {failures[0].Message}"), failures[0]);
        Report(session, [.. plans.Zip(compilers, (plan, compiler) => (plan.Target, plan.Specs.Count, compiler.CompiledCount))], cache, clock.Elapsed);
    }

    private static IReadOnlyList<KernelCompilationException> Compile(Session session, (IKernelCompiler, KernelSpec)[] work)
    {
        IReadOnlyList<KernelCompilationException> failures = [];
        session.WithProgress(display =>
        {
            var done = 0;
            failures = KernelBuild.Run(work, session.ThreadCount, Built, session.Cancellation);

            void Built(KernelImage image)
            {
                display.Report("compiling", "kernels", ++done, work.Length);
                if (CompilationReport.WarningsIn(image.Log) is [var first, ..]) session.Note($"{image.Title}: {first}");
            }
        });
        return failures;
    }

    private static void Report(Session session, (TargetArchitecture Target, int Count, int CompiledCount)[] targets, KernelCache cache, TimeSpan elapsed)
    {
        if (session.Json)
        {
            session.Print(new JsonObject
            {
                ["cache"] = cache.Folder,
                ["seconds"] = elapsed.TotalSeconds,
                ["targets"] = new JsonArray([.. targets.Select(target => (JsonNode)new JsonObject
                {
                    ["arch"] = target.Target.Name,
                    ["kernels"] = target.Count,
                    ["compiled"] = target.CompiledCount,
                })]),
            });
            return;
        }

        foreach (var (target, count, compiledCount) in targets) session.Print($"{target}: {count} kernels, {compiledCount} of them compiled now");
        session.Print(string.Create(CultureInfo.InvariantCulture, $"{cache.Folder}: {elapsed.TotalSeconds:0.0} s"));
    }
}
