using DiTRuntime.Backends;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Convolution as an implicit matrix product: <c>convolution_kernel</c>.</summary>
/// <param name="library">Where the kernels come from.</param>
internal sealed class ConvolutionKernel(KernelLibrary library)
{
    private readonly Dictionary<(ConvolutionTile Tile, bool Upsamples, bool MasksTail, Activation Activation), GpuKernel> _kernels = [];

    /// <summary>output = activation(conv(upsample(input)) + b + residual).</summary>
    public void Launch(GpuStream stream, in ConvolutionLaunch launch)
    {
        var layer = launch.Layer;
        var pixelCount = checked(launch.SampleCount * launch.Height * launch.Width);
        var tile = launch.Tile ?? ConvolutionTile.For(pixelCount, layer.Outputs, library.Device.Properties.MultiprocessorCount);
        var arguments = new ConvolutionArguments
        {
            Input = launch.Input,
            Weights = layer.Weights,
            Bias = layer.Bias,
            Residual = launch.Residual,
            Output = launch.Output,
            SampleCount = launch.SampleCount,
            Height = launch.Height,
            Width = launch.Width,
            Inputs = layer.Inputs,
            Outputs = layer.Outputs,
            KernelSize = layer.KernelSize,
        };
        var blocks = checked((int)tile.BlockCount(pixelCount, layer.Outputs));
        var kernel = Kernel(tile, launch.UpsamplesInput, layer.Inputs % 8 != 0, launch.Activation);
        stream.Launch(kernel, new LaunchShape(blocks, 1, 1, tile.Threads, tile.SharedBytes), arguments);
    }

    /// <summary>The kernel for a tile and what is done beside the product.</summary>
    /// <param name="tile">Its block.</param>
    /// <param name="upsamples">Whether the input is read at (y/2, x/2).</param>
    /// <param name="masksTail">Whether Cin is no multiple of 8, so that rows end in padding.</param>
    /// <param name="activation">Applied last.</param>
    public static KernelSpec Spec(ConvolutionTile tile, bool upsamples, bool masksTail, Activation activation) => new(
        "conv/convolution.cu", "convolution_kernel",
        ("TILE_M", tile.Pixels), ("TILE_N", tile.Channels), ("WARPS_M", tile.WarpsAlongPixels), ("WARPS_N", tile.WarpsAlongChannels),
        ("UPSAMPLE", upsamples ? 1 : 0), ("MASK_TAIL", masksTail ? 1 : 0), ("ACTIVATION", (int)activation));

    private GpuKernel Kernel(ConvolutionTile tile, bool upsamples, bool masksTail, Activation activation)
    {
        var key = (tile, upsamples, masksTail, activation);
        if (!_kernels.TryGetValue(key, out var kernel)) _kernels.Add(key, kernel = library.Get(Spec(tile, upsamples, masksTail, activation)));
        return kernel;
    }
}

/// <summary>One launch of <see cref="ConvolutionKernel"/>. Tensors are f16, channels last, channels padded to a multiple of 8.</summary>
/// <param name="Layer">The weight.</param>
/// <param name="Input">[B, Y, X, Cin], or [B, Y/2, X/2, Cin] where it is read upsampled.</param>
/// <param name="Output">[B, Y, X, Cout]; not the input.</param>
/// <param name="SampleCount">B.</param>
/// <param name="Height">Y.</param>
/// <param name="Width">X.</param>
internal readonly record struct ConvolutionLaunch(
    CudaConvolution Layer, DevicePointer Input, DevicePointer Output, int SampleCount, int Height, int Width)
{
    /// <summary>Like the output, added before the activation; may be the output; null for none.</summary>
    public DevicePointer Residual { get; init; }

    /// <summary>Applied last.</summary>
    public Activation Activation { get; init; }

    /// <summary>Nearest-neighbour ×2 on the way in.</summary>
    public bool UpsamplesInput { get; init; }

    /// <summary>A tile of the caller's choice, for tests and measurements.</summary>
    public ConvolutionTile? Tile { get; init; }
}
