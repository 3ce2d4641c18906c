using System.Diagnostics;
using System.Text.RegularExpressions;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Cuda.Compilation;

namespace DiTRuntime.Tests.Cuda;

/// <summary>What the machine code of the matrix products holds, as NVIDIA's disassembler reads it.</summary>
// After the gate, whose kernels it finds in the cache; its cases beside one another.
[Parallelizable(ParallelScope.Children)]
internal sealed partial class SassTests
{
    [TestCaseSource(typeof(KernelCatalog), nameof(KernelCatalog.ProductCases))]
    public void Multiplies_with_the_instruction_meant_and_calls_no_function(CatalogKernel kernel, TargetArchitecture target)
    {
        var code = Disassemble(TestCompilers.Compile(kernel.Spec, target).Code);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Products(code), Does.Contain(kernel.Instruction), "the instruction meant");
            // The zero points of integer formats are a product of halves of their own.
            Assert.That(Products(code), Is.SubsetOf(new[] { kernel.Instruction, KernelCatalog.HalfProduct }), "no other");
            Assert.That(Calls(code), Is.Empty);
        }
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
        Assert.That(Calls(Disassemble(compiler.Compile(new KernelSpec("divide.cu", "divide_kernel")).Code)), Is.Not.Empty);
    }

    /// <summary>The tensor-core instructions. HFMA2.MMA is none: a fused multiply-add of two halves.</summary>
    private static string[] Products(string code) =>
        [.. Instructions(code).Select(instruction => instruction.Opcode).Where(opcode => opcode.Split('.')[0].EndsWith("MMA", StringComparison.Ordinal)).Distinct()];

    /// <summary>
    /// The functions called. For sm_8x the assembler leaves some loops with a CALL to the label behind them, from which nothing returns: those are jumps.
    /// </summary>
    private static string[] Calls(string code) =>
        [.. Instructions(code).Where(instruction => instruction.Opcode.StartsWith("CALL", StringComparison.Ordinal) && !instruction.Operands.Contains("(.L_")).Select(instruction => instruction.Operands)];

    private static (string Opcode, string Operands)[] Instructions(string code)
    {
        var instructions = InstructionPattern().Matches(code).Select(match => (match.Groups[1].Value, match.Groups[2].Value)).ToArray();
        Assert.That(instructions.Select(instruction => instruction.Item1), Does.Contain("EXIT"), "the text is understood");
        return instructions;
    }

    private static string Disassemble(byte[] cubin)
    {
        var program = TestCompilers.Nvdisasm;
        using var folder = new TestFolder();
        var start = new ProcessStartInfo(program, ["-c", "-ndf", folder.Write("kernel.cubin", cubin)]) { RedirectStandardOutput = true };
        using var process = Process.Start(start)!;
        var text = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.Zero);
        return text;
    }

    /// <summary>An instruction: its address in a comment, perhaps a predicate, the opcode, operands.</summary>
    [GeneratedRegex(@"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)([^;]*);")]
    private static partial Regex InstructionPattern();
}
