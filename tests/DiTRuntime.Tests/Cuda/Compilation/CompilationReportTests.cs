using DiTRuntime.Cuda.Compilation;

namespace DiTRuntime.Tests.Cuda.Compilation;

public sealed class CompilationReportTests
{
    private const string Clean = """
        ptxas info    : 0 bytes gmem
        ptxas info    : Compiling entry function 'gemm_kernel' for 'sm_80'
        ptxas info    : Function properties for gemm_kernel
        ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
        ptxas info    : Used 180 registers, 384 bytes cmem[0]
        """;

    private const string Spilling = """
        ptxas info    : 0 bytes gmem
        ptxas info    : Compiling entry function 'gemm_kernel' for 'sm_90'
        ptxas warning : Registers are spilled to local memory in function 'gemm_kernel', 24 bytes spill stores, 40 bytes spill loads
        ptxas info    : Function properties for gemm_kernel
            32 bytes stack frame, 24 bytes spill stores, 40 bytes spill loads
        ptxas info    : Function properties for helper
            16 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
        ptxas info    : Used 64 registers, used 1 barriers, 8192 bytes smem
        """;

    [Test]
    public void A_clean_log_gives_registers_and_no_spills()
    {
        var report = CompilationReport.Parse(Clean)!;
        Assert.That(report with { Warnings = [] }, Is.EqualTo(new CompilationReport(180, 0, 0, 0, 0, [])));
        Assert.That(report.Warnings, Is.Empty);
        Assert.That(report.Spills, Is.False);
    }

    [Test]
    public void Spills_of_all_functions_count()
    {
        var report = CompilationReport.Parse(Spilling)!;
        Assert.That(report with { Warnings = [] }, Is.EqualTo(new CompilationReport(64, 8192, 32, 28, 48, [])));
        Assert.That(report.Spills, Is.True);
        Assert.That(report.Warnings, Has.Count.EqualTo(1));
    }

    [TestCase("gemm/gemm.cu(3): warning #177-D: variable \"unused\" was declared but never referenced")]
    [TestCase("ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to ...")]
    [TestCase("ptxas info    : (C7514) Potential Performance Loss: wgmma.mma_async instructions are serialized due to ...")]
    [TestCase("ptxas warning : Registers are spilled to local memory in function 'gemm_kernel'")]
    public void A_line_that_warns_is_found(string line) =>
        Assert.That(CompilationReport.Parse(line + "\n" + Clean)!.Warnings, Is.EqualTo(new[] { line }));

    [TestCase("")]
    [TestCase("gemm.cpp:3:9: warning: unused variable 'x'")]
    public void A_log_of_another_compiler_is_no_report(string log) => Assert.That(CompilationReport.Parse(log), Is.Null);
}
