using DiTRuntime.Backends;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Kernels;

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

    private const int Hidden = 1152, MlpSize = 4608, HeadSize = 72, Group = 128;

    /// <summary>The kernels.</summary>
    public static IReadOnlyList<CatalogKernel> All { get; } = [.. Tokens(), .. Attention(), .. Sampler(), .. Decoder()];

    /// <summary>Every kernel for every architecture.</summary>
    public static IEnumerable<TestCaseData> Cases => CasesOf(All).Concat(GemmCases);

    /// <summary>Every kernel of matrix products for every architecture.</summary>
    public static IEnumerable<TestCaseData> ProductCases => CasesOf(All.Where(kernel => kernel.Instruction is not null)).Concat(GemmCases);

    private static IEnumerable<TestCaseData> GemmCases => GemmCatalog.All.Select(entry => Case(entry.Kernel, entry.Target));

    private static IEnumerable<CatalogKernel> Tokens()
    {
        yield return Plain("norm/norm_modulate.cu", "norm_modulate_kernel", ("HIDDEN", Hidden), ("QUANTIZED", 0));
        foreach (var group in new[] { Group, 0 })
        {
            yield return Plain("norm/norm_modulate.cu", "norm_modulate_kernel", ("HIDDEN", Hidden), ("QUANTIZED", 1), ("GROUP", group), ("STATIC_RANGES", 0));
            yield return Plain("quant/quantize_rows.cu", "quantize_rows_kernel", ("WIDTH", MlpSize), ("GROUP", group), ("STATIC_RANGES", 0), ("SPAN", group == 0 ? MlpSize : 8 * group));
        }
    }

    private static IEnumerable<CatalogKernel> Attention()
    {
        // 256 and 1024 tokens.
        foreach (var tiles in new[] { 4, 0 })
            yield return new(Spec("attention/attention.cu", "attention_kernel", ("HEAD_SIZE", HeadSize), ("KEY_TILES", tiles), ("QUERY_TILE", 64), ("QUANTIZED", 0)), HalfProduct);
    }

    private static IEnumerable<CatalogKernel> Sampler()
    {
        yield return new(FinalLayerKernel.Spec(new FinalLayerShape(Hidden, Patch: 2, Channels: 4, OutChannels: 8)), HalfProduct);
        yield return Plain("sampler/sample_update.cu", "sample_update_kernel");
        yield return Plain("sampler/unpatchify.cu", "unpatchify_kernel");
    }

    private static IEnumerable<CatalogKernel> Decoder()
    {
        foreach (var tile in new[] { ConvolutionTile.Large, ConvolutionTile.Small })
            foreach (var upsamples in new[] { false, true })
                yield return new(ConvolutionKernel.Spec(tile, upsamples, masksTail: false, Activation.None), HalfProduct);
        yield return new(ConvolutionKernel.Spec(ConvolutionTile.Small, upsamples: false, masksTail: true, Activation.None), HalfProduct);
        yield return new(ConvolutionKernel.Spec(ConvolutionTile.Thin, upsamples: false, masksTail: false, Activation.None), HalfProduct);
        yield return new(GroupNormKernel.SumsSpec());
        yield return new(GroupNormKernel.Spec(Activation.Silu));
        foreach (var toHalf in new[] { false, true }) yield return new(ElementwiseConvertKernel.Spec(!toHalf, toHalf));
    }

    private static CatalogKernel Plain(string file, string entry, params ReadOnlySpan<(string Name, int Value)> constants) => new(Spec(file, entry, constants));

    private static KernelSpec Spec(string file, string entry, params ReadOnlySpan<(string Name, int Value)> constants) => new(file, entry, constants);

    private static IEnumerable<TestCaseData> CasesOf(IEnumerable<CatalogKernel> kernels) =>
        from kernel in kernels
        from target in TargetArchitecture.Portable
        select Case(kernel, target);

    private static TestCaseData Case(CatalogKernel kernel, TargetArchitecture target) => new TestCaseData(kernel, target).SetArgDisplayNames(kernel.Spec.Text, target.Name);
}
