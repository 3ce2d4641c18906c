using DiTRuntime.Backends;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;

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

    private const int Hidden = 1152, MlpSize = 4608, HeadCount = 16, HeadSize = 72, Group = 128;

    /// <summary>The kernels for GPUs of an architecture.</summary>
    public static IReadOnlyList<CatalogKernel> For(TargetArchitecture target) => [.. Products(target), .. Tokens(), .. Attention(), .. Sampler(), .. Decoder()];

    /// <summary>Every kernel for every architecture.</summary>
    public static IEnumerable<TestCaseData> Cases => CasesOf(_ => true);

    /// <summary>Every kernel of matrix products for every architecture.</summary>
    public static IEnumerable<TestCaseData> ProductCases => CasesOf(kernel => kernel.Instruction is not null);

    /// <summary>The layers of a block and what stands beside them, as tall and as wide as their registers allow, and small.</summary>
    private static IEnumerable<CatalogKernel> Products(TargetArchitecture target)
    {
        var isMagic = target.Number == 80 ? 1 : 0;
        foreach (var (format, instruction, tiles) in new[]
        {
            (GemmFormat.F16, HalfProduct, new[] { new GemmTile(128, 256, 2, 4), new GemmTile(64, 96, 2, 2) }),
            (GemmFormat.W8A8, IntegerProduct, [new GemmTile(128, 144, 2, 3), new GemmTile(64, 128, 2, 4)]),
            (GemmFormat.W4A8, IntegerProduct, [new GemmTile(128, 144, 2, 3), new GemmTile(64, 128, 2, 4)]),
            (GemmFormat.W8A16, HalfProduct, [new GemmTile(128, 128, 2, 4)]),
            (GemmFormat.W4A16, HalfProduct, [new GemmTile(128, 128, 2, 4)]),
        })
        {
            var group = format == GemmFormat.F16 ? 0 : Group;
            foreach (var tile in tiles)
            {
                foreach (var (epilogue, activation) in new[] { (GemmEpilogue.Heads, Activation.None), (GemmEpilogue.GatedResidual, Activation.None), (GemmEpilogue.Store, Activation.GeluTanh) })
                    yield return new(Product(epilogue, activation), instruction);
                if (format.IsInteger() && tile.Columns % group == 0) yield return new(Product(GemmEpilogue.Quantize, Activation.GeluTanh, ("OUTPUTS", MlpSize), ("OUTPUT_GROUP", group)), instruction);

                KernelSpec Product(GemmEpilogue epilogue, Activation activation, params (string, int)[] more) => new("gemm/gemm.cu", "gemm_kernel",
                [
                    ("FORMAT", (int)format), ("GROUP", group), ("TILE_M", tile.Rows), ("TILE_N", tile.Columns), ("WARPS_M", tile.WarpRows), ("WARPS_N", tile.WarpColumns),
                    ("KSTEPS", 4), ("STAGES", 3), ("EPILOGUE", (int)epilogue), ("ACTIVATION", (int)activation), .. format.IsInteger() && isMagic == 1 ? [("MAGIC", 1)] : Array.Empty<(string, int)>(), .. more,
                ]);
            }
        }
    }

    private static IEnumerable<CatalogKernel> Tokens()
    {
        yield return new(PatchEmbedKernel.Spec(Hidden, channels: 4, patch: 2));
        yield return new(TimestepFeaturesKernel.Spec(128));
        yield return new(ConditionKernel.Spec(Hidden));
        yield return new(NormModulateKernel.Spec(Hidden, null));
        foreach (var group in new[] { Group, 0 })
        {
            yield return new(NormModulateKernel.Spec(Hidden, new ActivationFormat(group)));
            yield return new(QuantizeRowsKernel.Spec(Hidden, new ActivationFormat(group)));
        }
    }

    private static IEnumerable<CatalogKernel> Attention()
    {
        // Images of 256 and 512 pixels; groups of four heads, quantized as they are stored.
        const int LeastShared = 99 * 1024;
        foreach (var tokens in new[] { 256, 1024 })
        {
            yield return new(AttentionPlan.Make(HeadCount, HeadSize, tokens, null, LeastShared)!.Value.Spec(), HalfProduct);
            yield return new(AttentionPlan.Make(HeadCount, HeadSize, tokens, new ActivationFormat(4 * HeadSize), LeastShared)!.Value.Spec(), HalfProduct);
        }
    }

    private static IEnumerable<CatalogKernel> Sampler()
    {
        yield return new(FinalLayerKernel.Spec(new FinalLayerShape(Hidden, Patch: 2, Channels: 4, OutChannels: 8)), HalfProduct);
        yield return new(new KernelSpec("sampler/sample_update.cu", "sample_update_kernel"));
        yield return new(new KernelSpec("sampler/unpatchify.cu", "unpatchify_kernel"));
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

    private static IEnumerable<TestCaseData> CasesOf(Func<CatalogKernel, bool> isMeant) =>
        from target in TargetArchitecture.Portable
        from kernel in For(target)
        where isMeant(kernel)
        select new TestCaseData(kernel, target).SetArgDisplayNames(kernel.Spec.Text, target.Name);
}
