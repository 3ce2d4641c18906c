using DiTRuntime.Cuda.Compilation;

namespace DiTRuntime.Tests.Cuda;

/// <summary>A kernel the gates look at.</summary>
/// <param name="Spec">The kernel.</param>
/// <param name="Instruction">The tensor-core instruction its time goes into, as the disassembler spells it; null for a kernel of another kind.</param>
internal sealed record CatalogKernel(KernelSpec Spec, string? Instruction = null);

/// <summary>Every kernel, in every specialisation that DiT-XL/2 uses.</summary>
internal static class KernelCatalog
{
    /// <summary>Bytes in, exact 32-bit sums: 16×8×32.</summary>
    public const string IntegerProduct = "IMMA.16832.U8.U8";

    /// <summary>Halves in, fp32 sums: 16×8×16.</summary>
    public const string HalfProduct = "HMMA.16816.F32";

    /// <summary>The kernels.</summary>
    public static IReadOnlyList<CatalogKernel> All { get; } =
    [
        new(new KernelSpec("sampler/final_layer.cu", "final_layer_kernel", ("HIDDEN", 1152), ("PATCH", 2), ("CHANNELS", 4), ("OUT_CHANNELS", 8)), HalfProduct),
    ];

    /// <summary>Every kernel for every architecture.</summary>
    public static IEnumerable<TestCaseData> Cases =>
        from kernel in All
        from target in TargetArchitecture.Portable
        select new TestCaseData(kernel, target).SetArgDisplayNames(kernel.Spec.Text, target.Name);
}
