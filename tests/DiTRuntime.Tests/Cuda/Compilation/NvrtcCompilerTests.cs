using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Tests.Cuda.Compilation;

public sealed class NvrtcCompilerTests
{
    private const string Copy = """
        #include "common/ptx.cuh"
        struct copy_arguments { const f32* source; f32* target; };
        DIT_KERNEL(copy_kernel, copy_arguments, 256) {
            static_assert(DIT_ARCHITECTURE * 10 == __CUDA_ARCH__, "the target's number");
            static_assert(FACTOR == 3, "a constant of the specification");
            global_store(args.target + thread_index(), FACTOR * global_load(args.source + thread_index()));
        }
        """;

    private static readonly KernelSpec s_spec = new("copy/copy.cu", "copy_kernel", ("FACTOR", 3));

    [OneTimeSetUp]
    public void NeedNvrtc() => Assert.That(TestCompilers.Nvrtc.SupportedArchitectures, Is.Not.Empty);

    [TestCase("80")]
    [TestCase("86")]
    [TestCase("87")]
    [TestCase("89")]
    [TestCase("90")]
    [TestCase("90a")]
    public void A_kernel_becomes_a_cubin_with_a_report(string target)
    {
        var compiler = Compiler(Copy, target);
        var image = compiler.Compile(s_spec);
        Assert.That(image.Title, Is.EqualTo(s_spec.Text));
        Assert.That(image.Code.AsSpan(0, 4).ToArray(), Is.EqualTo("\u007fELF"u8.ToArray()));
        var report = CompilationReport.Parse(image.Log)!;
        Assert.That(report.Registers, Is.InRange(4, 32));
        Assert.That(report with { Registers = 0, Warnings = [] }, Is.EqualTo(new CompilationReport(0, 0, 0, 0, 0, [])));
        Assert.That(report.Warnings, Is.Empty, image.Log);
        Assert.That(compiler.Identity.Split(' '), Does.Contain("sm_" + target).And.Contain("nvrtc"));
    }

    [Test]
    public void An_error_in_a_kernel_shows_the_log_and_the_next_one_compiles()
    {
        var error = Assert.Throws<KernelCompilationException>(() => Compiler(Copy.Replace("global_load(", "gobal_load(", StringComparison.Ordinal)).Compile(s_spec))!;
        Assert.That(error.Log, Does.Contain("copy/copy.cu(6)").And.Contain("gobal_load"));
        Assert.That(error.Message, Does.Contain(s_spec.Text).And.Contain("gobal_load"));
        Assert.That(error.ExitCode, Is.EqualTo(ExitCode.Failure));
        Assert.That(Compiler(Copy).Compile(s_spec).Code, Is.Not.Empty);
    }

    [Test]
    public void An_include_that_is_not_there_is_named()
    {
        var error = Assert.Throws<KernelCompilationException>(() => Compiler("#include \"common/absent.cuh\"").Compile(s_spec))!;
        Assert.That(error.Log, Does.Contain("common/absent.cuh"));
    }

    [Test]
    public void A_source_that_is_not_there_is_named()
    {
        var error = Assert.Throws<KernelCompilationException>(() => Compiler(Copy).Compile(new KernelSpec("copy/absent.cu", "absent_kernel")))!;
        Assert.That(error.Message, Does.Contain("no source copy/absent.cu"));
    }

    [Test]
    public void An_architecture_it_does_not_know_is_refused_with_those_it_does()
    {
        var error = Assert.Throws<GpuUnavailableException>(() => Compiler(Copy, "sm_20"))!;
        Assert.That(error.Message, Does.Contain("does not compile for sm_20").And.Contain("sm_80").And.Contain("sm_90"));
        Assert.That(error.ExitCode, Is.EqualTo(ExitCode.Unsupported));
    }

    [Test]
    public void A_spill_is_reported()
    {
        // 64 registers a thread are all that 1024 threads leave; 160 values are alive at once.
        var image = Compiler("""
            #include "common/ptx.cuh"
            struct copy_arguments { const f32* source; f32* target; };
            DIT_KERNEL(copy_kernel, copy_arguments, 1024) {
                f32 held[160];
            #pragma unroll
                for (int i = 0; i < 160; i++) held[i] = global_load(args.source + i * 1024 + thread_index());
                block_sync();
            #pragma unroll
                for (int i = 0; i < 160; i++) global_store(args.target + i * 1024 + thread_index(), held[i] * held[(i + 80) % 160]);
            }
            """).Compile(s_spec);
        var report = CompilationReport.Parse(image.Log)!;
        Assert.That(report.Spills, Is.True, image.Log);
        Assert.That(report.StackBytes, Is.GreaterThan(0));
        Assert.That(report.Warnings, Has.Some.Contains("spilled"), image.Log);
    }

    [Test]
    public void A_warning_of_the_front_end_is_reported()
    {
        var image = Compiler(Copy.Replace("static_assert(FACTOR", "int unused; static_assert(FACTOR", StringComparison.Ordinal)).Compile(s_spec);
        Assert.That(CompilationReport.Parse(image.Log)!.Warnings, Has.Some.Contains("unused"), image.Log);
    }

    [Test]
    public void Several_threads_at_once_make_what_one_makes()
    {
        KernelSpec[] specs = [.. Enumerable.Range(0, 6).Select(index => new KernelSpec("copy/copy.cu", "copy_kernel", ("FACTOR", 3), ("INDEX", index)))];
        var alone = Compiler(Copy).Compile(s_spec).Code;
        var images = new List<KernelImage>();
        var work = new IKernelCompiler[] { Compiler(Copy), Compiler(Copy, "86") }.SelectMany(compiler => specs.Select(spec => (compiler, spec))).ToArray();
        var failures = KernelBuild.Run(work, 4, images.Add, CancellationToken.None);
        Assert.That(failures, Is.Empty);
        Assert.That(images, Has.Count.EqualTo(12));
        Assert.That(images.Count(image => image.Code.AsSpan().SequenceEqual(alone)), Is.EqualTo(6), "for sm_80");
    }

    private static NvrtcCompiler Compiler(string text, string target = "80")
    {
        var sources = new Dictionary<string, string>(KernelSources.All) { ["copy/copy.cu"] = text };
        return new NvrtcCompiler(TestCompilers.Nvrtc, TargetArchitecture.Parse(target), sources);
    }
}
