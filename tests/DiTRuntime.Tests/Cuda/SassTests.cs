using System.Diagnostics;
using System.Text.RegularExpressions;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Cuda.Compilation;

namespace DiTRuntime.Tests.Cuda;

/// <summary>What the machine code of every kernel holds, as NVIDIA's disassembler reads it.</summary>
// After the gate, whose compiled kernels it finds in the cache; its cases beside one another.
[Parallelizable(ParallelScope.Children)]
internal sealed partial class SassTests
{
    [TestCaseSource(typeof(KernelCatalog), nameof(KernelCatalog.Cases))]
    public void Holds_the_tensor_core_instruction_meant_and_no_call(CatalogKernel kernel, TargetArchitecture target)
    {
        var code = Disassemble(TestCompilers.Compile(kernel.Spec, target).Code);
        var opcodes = OpcodePattern().Matches(code).Select(match => match.Groups[1].Value).ToArray();
        Assert.That(opcodes, Does.Contain("EXIT"), "instructions are read from the text");
        Assert.That(opcodes.Where(opcode => opcode.StartsWith("CALL", StringComparison.Ordinal)), Is.Empty);
        var products = opcodes.Where(opcode => opcode.Contains("MMA", StringComparison.Ordinal)).Distinct().ToArray();
        Assert.That(products, kernel.Instruction is { } instruction ? Is.EqualTo(new[] { instruction }) : Is.Empty);
    }

    [Test]
    public void A_call_is_found()
    {
        const string Source = """
            #include "common/ptx.cuh"
            struct divide_arguments { f32* values; };
            __device__ __noinline__ f32 divide(f32 a, f32 b) { return a / b; }
            DIT_KERNEL(divide_kernel, divide_arguments, 32) { global_store(args.values, divide(global_load(args.values), global_load(args.values + 1))); }
            """;
        var compiler = new NvrtcCompiler(TestCompilers.Nvrtc, new TargetArchitecture(80), new Dictionary<string, string>(KernelSources.All) { ["divide.cu"] = Source });
        var code = Disassemble(compiler.Compile(new KernelSpec("divide.cu", "divide_kernel")).Code);
        Assert.That(OpcodePattern().Matches(code).Select(match => match.Groups[1].Value), Has.Some.StartsWith("CALL"));
    }

    private static string Disassemble(byte[] cubin)
    {
        var program = TestCompilers.Nvdisasm;
        using var folder = new TestFolder();
        var start = new ProcessStartInfo(program, ["-c", folder.Write("kernel.cubin", cubin)]) { RedirectStandardOutput = true };
        using var process = Process.Start(start)!;
        var text = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.Zero);
        return text;
    }

    /// <summary>An instruction: its address in a comment, perhaps a predicate, the opcode.</summary>
    [GeneratedRegex(@"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)")]
    private static partial Regex OpcodePattern();
}
