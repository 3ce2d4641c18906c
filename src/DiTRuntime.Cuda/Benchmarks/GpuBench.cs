using System.Collections.Concurrent;
using System.Globalization;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Planning;

namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>The benchmark of the CUDA engine: first every kernel against the CPU, then kernels one by one, then whole steps.</summary>
/// <remarks>Sits on <see cref="IGpuDevice"/>, so it runs on the emulated device too, where its times say nothing about a GPU.</remarks>
/// <param name="device">Where it runs; stays the caller's.</param>
/// <param name="compiler">Makes kernels for it.</param>
/// <param name="settings">What is measured.</param>
public sealed class GpuBench(IGpuDevice device, IKernelCompiler compiler, BenchSettings settings)
{
    /// <summary>The vendor's product to compare with, or null.</summary>
    public IHalfProduct? Product { get; init; }

    /// <summary>Why there is none.</summary>
    public string? ProductProblem { get; init; }

    /// <summary>Told what is being done.</summary>
    public Action<string> Note { get; init; } = _ => { };

    /// <summary>Measures. Where a check fails, nothing is timed.</summary>
    /// <exception cref="UsageException">No line contains the filter.</exception>
    /// <exception cref="GpuException">A kernel does not compile, or fails.</exception>
    public BenchResults Run(CancellationToken cancellation = default)
    {
        var prepared = new PreparedKernels(compiler);
        var specs = Plan(device.Properties, settings);
        Note(string.Create(CultureInfo.InvariantCulture, $"compiling {specs.Count} kernels where they are not in the cache"));
        prepared.Add(specs, cancellation);
        var results = new BenchResults();
        if (settings.Checks)
        {
            results = results with { Checks = Checks(prepared, cancellation) };
            if (results.Failures.Count > 0) return results;
        }

        if (settings.Kernels)
        {
            using var backend = new CudaBackend(device, prepared) { Cancellation = cancellation };
            var times = new KernelTimes(device, backend, settings, Product);
            var roof = times.MeasureRoof(Product?.Library ?? $"no vendor's product: {ProductProblem}");
            var kernels = new List<KernelTime>();
            foreach (var time in times.Measure(Note))
            {
                Note(string.Create(CultureInfo.InvariantCulture, $"{time.Kernel} {time.Format} M {time.Rows}: {1000 * time.Milliseconds.Median:f1} us"));
                kernels.Add(time);
            }

            results = results with { Roof = roof, Kernels = kernels };
        }

        if (settings.Steps)
        {
            var steps = new List<StepTime>();
            foreach (var step in new StepTimes(device, prepared, settings).Measure(cancellation))
            {
                Note(step.Skipped is { } reason
                    ? $"{StepTimes.Line(step)}: left out: {reason}"
                    : string.Create(CultureInfo.InvariantCulture, $"{StepTimes.Line(step)}: {step.Milliseconds.Median:f2} ms"));
                steps.Add(step);
            }

            results = results with { Steps = steps };
        }

        var lines = (results.Checks?.Count ?? 0) + (results.Kernels?.Count ?? 0) + (results.Steps?.Count ?? 0);
        return lines > 0 ? results : throw new UsageException($"nothing that is measured is called {settings.Filter}");
    }

    private List<CheckResult> Checks(IKernelCompiler prepared, CancellationToken cancellation)
    {
        using var backend = new CudaBackend(device, prepared) { Cancellation = cancellation };
        using var reference = CpuBackend.Create(new CpuOptions());
        reference.Cancellation = cancellation;
        var results = new List<CheckResult>();
        foreach (var check in KernelChecks.All(settings))
        {
            var result = KernelChecks.Run(check, settings, backend, reference);
            Note(string.Create(CultureInfo.InvariantCulture, $"check {check}: {result.Error:0.0e-0} of {result.Tolerance:0.0e-0}{(result.Passed ? "" : ": FAILED")}"));
            results.Add(result);
        }

        return results;
    }

    /// <summary>The kernels that the run will launch, found by carrying it out on a device that runs nothing; so they are compiled side by side.</summary>
    /// <param name="properties">The device.</param>
    /// <param name="settings">What is measured.</param>
    internal static IReadOnlyList<KernelSpec> Plan(GpuProperties properties, BenchSettings settings)
    {
        var collector = new PlanningCompiler();
        var planned = new PlanningDevice(properties);
        var once = settings with { Rounds = 1 };
        if (settings.Checks)
        {
            using var backend = new CudaBackend(planned, collector);
            foreach (var check in KernelChecks.All(settings)) KernelChecks.Values(check, settings, backend);
        }

        if (settings.Kernels)
        {
            using var backend = new CudaBackend(planned, collector);
            foreach (var _ in new KernelTimes(planned, backend, once, null).Measure(_ => { }))
            {
                // The kernels were asked for.
            }
        }

        if (settings.Steps)
        {
            foreach (var _ in new StepTimes(planned, collector, once).Measure(CancellationToken.None, directly: false))
            {
                // The kernels were asked for.
            }
        }

        return [.. collector.Specs.Distinct()];
    }

    /// <summary>Kernels compiled before they are asked for.</summary>
    private sealed class PreparedKernels(IKernelCompiler inner) : IKernelCompiler
    {
        private readonly ConcurrentDictionary<KernelSpec, KernelImage> _images = [];

        public string Name => inner.Name;

        public string Identity => inner.Identity;

        public void Add(IEnumerable<KernelSpec> specs, CancellationToken cancellation)
        {
            try
            {
                Parallel.ForEach(
                    specs,
                    new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = cancellation },
                    spec => _images[spec] = inner.Compile(spec));
            }
            catch (AggregateException e) when (e.InnerExceptions[0] is DiTException first)
            {
                throw first;
            }
        }

        public KernelImage Compile(KernelSpec spec) => _images.GetOrAdd(spec, inner.Compile);
    }
}
