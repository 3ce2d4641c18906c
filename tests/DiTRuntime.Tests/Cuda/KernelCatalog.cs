using DiTRuntime.Backends;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Cuda.Planning;
using DiTRuntime.Tests.Cuda.Training;

namespace DiTRuntime.Tests.Cuda;

/// <summary>A kernel the gates look at.</summary>
/// <param name="Spec">The kernel.</param>
/// <param name="Instruction">The tensor-core instruction its time goes into, as the disassembler spells it; null for a kernel of another kind.</param>
internal sealed record CatalogKernel(KernelSpec Spec, string? Instruction = null);

/// <summary>Every kernel, in every specialisation that DiT-XL/2, its decoder and its calibration use: what the planner says, and no list of our own.</summary>
internal static class KernelCatalog
{
    /// <summary>Bytes in, exact 32-bit sums: 16×8×32.</summary>
    public const string IntegerProduct = "IMMA.16832.U8.U8";

    /// <summary>The same with codewords, which have signs.</summary>
    public const string CodewordProduct = "IMMA.16832.U8.S8";

    /// <summary>Halves in, fp32 sums: 16×8×16.</summary>
    public const string HalfProduct = "HMMA.16816.F32";

    /// <summary>The formats that are published for it: groups of 128, and of 288, four whole heads; codebooks of 2, 3 and 1 bits.</summary>
    private static readonly string[] s_formats =
        ["f16", "w8a8-g128", "w4a8-g128", "w8a8-g288", "w4a16-g128", "w8a16-g128", "k256-d4", "k64-d2", "k256-d8", "k256-d4-a8-g96"];

    private static readonly Dictionary<TargetArchitecture, CatalogKernel[]> s_kernels = [];

    /// <summary>The kernels for GPUs of an architecture.</summary>
    public static IReadOnlyList<CatalogKernel> For(TargetArchitecture target)
    {
        lock (s_kernels)
        {
            if (s_kernels.TryGetValue(target, out var kernels)) return kernels;
            var specs = s_formats.SelectMany((format, i) => KernelPlan.For(() => PlannedModels.DiTXL2(format), target, i == 0 ? PlannedModels.Decoder : null));
            var others = PublishedDecoder().Concat(OtherCodebooks(target)).Concat(PlannedTraining.Kernels(target));
            return s_kernels[target] = [.. specs.Concat(others).Distinct().Select(spec => new CatalogKernel(spec, InstructionOf(spec)))];
        }
    }

    /// <summary>Every kernel for every architecture.</summary>
    public static IEnumerable<TestCaseData> Cases => CasesOf(_ => true);

    /// <summary>Every kernel of matrix products for every architecture.</summary>
    public static IEnumerable<TestCaseData> ProductCases => CasesOf(kernel => kernel.Instruction is not null);

    /// <summary>What the published decoder uses beyond the narrow one: its one wide head, and tiles for its channels.</summary>
    private static IEnumerable<KernelSpec> PublishedDecoder()
    {
        yield return AttentionKernel.WideSpec(512);
        foreach (var tile in new[] { ConvolutionTile.Large, ConvolutionTile.Small, ConvolutionTile.Thin })
            foreach (var upsamples in new[] { false, true }) yield return ConvolutionKernel.Spec(tile, upsamples, masksTail: false, Activation.None);
    }

    /// <summary>Codebooks of other kinds, one kernel each: for every position, of bytes in vectors of eight, two bytes a code, decoded ones; and a product of few rows.</summary>
    private static IEnumerable<KernelSpec> OtherCodebooks(TargetArchitecture target)
    {
        var device = GpuModels.Typical(target.Number);
        foreach (var (format, rows) in new[] { ("pq-k256-d8", 8192), ("pq-k256-d8-a8-g128", 8192), ("k256-d8-a8-g128", 8192), ("k1024-d8", 8192), ("k256-d4", 2), ("k256-d2-a8-g64", 512) })
        {
            var weight = PlannedModels.Layer("mlp.fc1", 4608, 1152, PlannedModels.Packed(format));
            using var planned = new PlanningDevice(device);
            using var layer = new CudaLinear(weight, WeightLayout.Of(weight), planned.Allocate(16));
            yield return GemmKernel.Spec(new GemmProblem { Rows = rows, Layer = layer, Activation = Activation.GeluTanh }, device);
        }

        foreach (var format in new[] { "k65536-d4", "k256-d3-a8-g96" })
            yield return DecodeKernel.Spec(WeightLayout.Of(PlannedModels.Layer("mlp.fc1", 4608, 1152, PlannedModels.Packed(format))));
    }

    private static string? InstructionOf(KernelSpec spec) => spec.File switch
    {
        "gemm/gemm.cu" when spec.Constants.Contains($"FORMAT={(int)GemmFormat.W8A8}") || spec.Constants.Contains($"FORMAT={(int)GemmFormat.W4A8}") => IntegerProduct,
        "gemm/gemm.cu" when spec.Constants.Contains($"FORMAT={(int)GemmFormat.LookupA8}") => CodewordProduct,
        "gemm/gemm.cu" or "conv/convolution.cu" or "sampler/final_layer.cu" => HalfProduct,
        _ when spec.File.StartsWith("attention/", StringComparison.Ordinal) => HalfProduct,
        _ => null,
    };

    private static IEnumerable<TestCaseData> CasesOf(Func<CatalogKernel, bool> isMeant) =>
        from target in TargetArchitecture.Portable
        from kernel in For(target)
        where isMeant(kernel)
        select new TestCaseData(kernel, target).SetArgDisplayNames(kernel.Spec.Text, target.Name);
}
