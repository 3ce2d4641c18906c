using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>The end of a sampling step, tokens to latents: <c>final_layer_kernel</c>. Moves the step counter on.</summary>
/// <param name="library">Where the kernels come from.</param>
internal sealed class FinalLayerKernel(KernelLibrary library)
{
    private const int Threads = 256, TokensOfBlock = 8;
    private readonly Dictionary<FinalLayerShape, GpuKernel> _kernels = [];

    /// <summary>Updates the latents in place.</summary>
    /// <exception cref="ArgumentException">The latents' side is no multiple of the patch's, or the table's stride none of 4.</exception>
    public void Launch(GpuStream stream, in FinalLayerLaunch launch)
    {
        var (shape, arguments) = launch;
        if (arguments.Side % shape.Patch != 0)
            throw new ArgumentException($"latents of side {arguments.Side} do not divide into patches of {shape.Patch}", nameof(launch));
        if (arguments.Modulation.Stride % 4 != 0)
            throw new ArgumentException($"rows of {arguments.Modulation.Stride} values break the 16 bytes that the modulation is read in", nameof(launch));
        if (!_kernels.TryGetValue(shape, out var kernel)) _kernels.Add(shape, kernel = library.Get(Spec(shape)));
        var patches = arguments.Side / shape.Patch;
        var blocks = (patches * patches + TokensOfBlock - 1) / TokensOfBlock;
        stream.Launch(kernel, new LaunchShape(blocks, arguments.Sampler.UpdateCount, 1, Threads, SharedBytes(shape)), arguments);
    }

    /// <summary>The kernel for a model.</summary>
    /// <exception cref="GpuUnavailableException">H is no multiple of 8.</exception>
    public static KernelSpec Spec(in FinalLayerShape shape)
    {
        TokenWidth.Check("final layer", shape.Hidden);
        return new KernelSpec(
            "sampler/final_layer.cu", "final_layer_kernel",
            ("HIDDEN", shape.Hidden), ("PATCH", shape.Patch), ("CHANNELS", shape.Channels), ("OUT_CHANNELS", shape.OutChannels));
    }

    /// <summary>Rows, partial sums and results, as final_layer.cu lays them out.</summary>
    private static int SharedBytes(in FinalLayerShape shape)
    {
        const int rows = 2 * TokensOfBlock;
        var rowBytes = ((shape.Hidden + 31) / 32 * 64 + 127) / 128 * 128 + 64;
        var outputs = shape.Patch * shape.Patch * shape.OutChannels;
        return rows * (rowBytes + 4 * 32 * sizeof(float) + outputs * sizeof(float));
    }
}

/// <summary>What a model's final layer is compiled for.</summary>
/// <param name="Hidden">H, a multiple of 8.</param>
/// <param name="Patch">p.</param>
/// <param name="Channels">C, channels of the latent.</param>
/// <param name="OutChannels">Cout: C, or 2C with the variance.</param>
internal readonly record struct FinalLayerShape(int Hidden, int Patch, int Channels, int OutChannels);

/// <summary>One launch of <see cref="FinalLayerKernel"/>.</summary>
/// <param name="Shape">What it is compiled for.</param>
/// <param name="Arguments">Its argument struct.</param>
internal readonly record struct FinalLayerLaunch(FinalLayerShape Shape, FinalLayerArguments Arguments);
