using System.Globalization;
using DiTRuntime.Cuda.Benchmarks;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Planning;
using DiTRuntime.Models;
using DiTRuntime.Tests.Cuda.Compilation;

namespace DiTRuntime.Tests.Cuda;

/// <summary>The benchmark of the CUDA engine, on the emulated device: that it runs and tells the truth, not how fast anything is.</summary>
[TestFixture]
internal sealed class BenchTests
{
    /// <summary>Lines of this format alone: few kernels to compile.</summary>
    private static readonly BenchSettings s_settings = BenchSettings.Quick with { Filter = "w8a8 g48", Rounds = 2 };

    private static readonly Lazy<BenchResults> s_results = new(() => new GpuBench(TestDevice.Device, TestDevice.Compiler, s_settings) { ProductProblem = "not here" }.Run());

    [Test]
    public void Median_and_percentiles_are_those_of_the_sorted_times()
    {
        var spread = TimeSpread.Of([7, 1, 11, 3, 9, 5, 10, 2, 8, 4, 6]);
        Assert.That(spread, Is.EqualTo(new TimeSpread(6, 2, 10, 11)));
        Assert.That(TimeSpread.Of([4, 1, 2, 3]).Median, Is.EqualTo(2.5));
        Assert.That(TimeSpread.Of([3]), Is.EqualTo(new TimeSpread(3, 3, 3, 1)));
        Assert.That(() => TimeSpread.Of([]), Throws.ArgumentException);
    }

    [Test]
    public void Error_is_that_of_the_worst_row()
    {
        float[] expected = [3, 4, 0, 30, 40, 0];
        Assert.That(KernelChecks.LargestError(expected, expected, 3), Is.Zero);
        Assert.That(KernelChecks.LargestError([3, 4, 1, 30, 40, 1], expected, 3), Is.EqualTo(0.2).Within(1e-6));
        Assert.That(KernelChecks.LargestError([3, 4, 0, 30, float.NaN, 0], expected, 3), Is.EqualTo(double.PositiveInfinity));
    }

    [Test]
    public void All_parts_run_on_the_emulated_device()
    {
        var results = s_results.Value;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(results.Checks, Has.Count.EqualTo(4));
            Assert.That(results.Failures, Is.Empty);
            Assert.That(results.Kernels!.Select(k => k.Kernel), Is.EqualTo(new[] { "qkv", "proj", "fc1", "fc2" }));
            Assert.That(results.Kernels, Has.All.Matches<KernelTime>(k => k.Milliseconds.Median > 0 && k.Milliseconds.Count == 2 && k.Speedup is null && k.ShareOf(results.Roof!) is null));
            Assert.That(results.Steps!.Select(s => s.UsesGraph), Is.EqualTo(new[] { true, false }));
            Assert.That(results.Steps, Has.All.Matches<StepTime>(s => s.Skipped is null && s.Milliseconds.Median > 0 && s.OwnBytes > 0 && s.DriverBytes > 0 && s.ImagesPerSecond > 0));
        }
    }

    [Test]
    public void Report_is_well_formed_and_keeps_what_other_runs_measured()
    {
        using var folder = new TempFolder();
        var files = Report(s_results.Value).Write(folder.Path);
        Assert.That(files.Select(Path.GetFileName), Is.EqualTo(new[] { "README.md", "checks.csv", "kernels.csv", "steps.csv" }));
        foreach (var file in files.Skip(1))
        {
            var lines = File.ReadAllLines(file);
            // The reasons of tolerances hold commas, in quotes.
            var widths = lines.Select(line => line.Split('"').Where((_, i) => i % 2 == 0).Sum(part => part.Count(c => c == ',')));
            Assert.That(widths.Distinct().Count(), Is.EqualTo(1), file);
        }

        var step = File.ReadAllLines(files[3])[1].Split(',');
        Assert.That(step[..5], Is.EqualTo(new[] { "ditruntime", "graph", "w8a8 g48", "64", "1" }));
        Assert.That(double.Parse(step[5], CultureInfo.InvariantCulture), Is.Positive);
        var text = File.ReadAllText(files[0]);
        Assert.That(text, Does.Contain("## Checks").And.Contain("## Kernels").And.Contain("## Steps").And.Contain("commit abc").And.Contain("Emulated"));
        foreach (var row in text.Split('\n').Where(line => line.StartsWith('|'))) Assert.That(row, Does.EndWith("|"));

        Report(s_results.Value with { Kernels = null, Roof = null, Steps = null }).Write(folder.Path);
        Assert.That(File.ReadAllText(files[0]), Is.EqualTo(text), "sections of the first run");
    }

    [Test]
    public void A_failed_check_stops_the_benchmark_and_takes_earlier_speeds_away()
    {
        using var folder = new TempFolder();
        Report(s_results.Value).Write(folder.Path);
        var results = new GpuBench(TestDevice.Device, TestDevice.Compiler, s_settings with { Filter = "product w8a8", ToleranceScale = 1e-9, Steps = false }).Run();
        Assert.That(results.Failures, Has.Count.EqualTo(1));
        Assert.That((results.Kernels, results.Roof), Is.EqualTo(((object?)null, (object?)null)));
        var text = File.ReadAllText(Report(results).Write(folder.Path)[0]);
        Assert.That(text, Does.Contain("nothing was timed").And.Not.Contain("## Kernels").And.Not.Contain("## Steps"));
    }

    [Test]
    public void Full_benchmark_can_be_planned_for_every_architecture([Values(80, 90)] int architecture)
    {
        var specs = FullPlan(architecture);
        Assert.That(specs.Select(spec => spec.Entry).Distinct(), Is.SupersetOf(new[] { "gemm_kernel", "attention_kernel", "norm_modulate_kernel", "quantize_rows_kernel", "final_layer_kernel" }));
    }

    [Test, Explicit("minutes: about a hundred kernels")]
    public void Every_kernel_of_the_full_benchmark_compiles_without_a_warning_or_a_spill([Values(90)] int architecture)
    {
        var wrong = new List<string>();
        foreach (var spec in FullPlan(architecture))
        {
            var report = CompilationReport.Parse(TestCompilers.Compile(spec, new TargetArchitecture(architecture)).Log);
            if (report is not { Spills: false, Warnings.Count: 0 }) wrong.Add(spec.Text);
        }

        Assert.That(wrong, Is.Empty);
    }

    private static IReadOnlyList<KernelSpec> FullPlan(int architecture) =>
        GpuBench.Plan(GpuModels.Typical(architecture), new BenchSettings { Config = DiTConfigs.Parse("DiT-XL/2") });

    private static BenchReport Report(BenchResults results) =>
        new(BenchMachine.Describe(TestDevice.Device, TestDevice.Compiler, "dit bench") with { Commit = "abc", Date = DateTime.UnixEpoch }, s_settings, results);

    private sealed class TempFolder : IDisposable
    {
        public string Path { get; } = Directory.CreateTempSubdirectory("dit-bench-").FullName;

        public void Dispose() => Directory.Delete(Path, recursive: true);
    }
}
