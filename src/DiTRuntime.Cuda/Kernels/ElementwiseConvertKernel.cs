using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Copies between layouts and between f32 and f16: <c>convert_kernel</c>.</summary>
/// <param name="library">Where the kernels come from.</param>
internal sealed class ElementwiseConvertKernel(KernelLibrary library)
{
    private const int Threads = 256;
    private readonly Dictionary<(bool SourceIsHalf, bool DestinationIsHalf), GpuKernel> _kernels = [];

    /// <summary>destination[b, r, c] = source[b, r, c].</summary>
    public void Launch(GpuStream stream, in ElementwiseConvertLaunch launch)
    {
        var key = (launch.SourceIsHalf, launch.DestinationIsHalf);
        if (!_kernels.TryGetValue(key, out var kernel)) _kernels.Add(key, kernel = library.Get(Spec(key.SourceIsHalf, key.DestinationIsHalf)));
        var values = checked(launch.Arguments.Rows * launch.Arguments.Columns);
        stream.Launch(kernel, new LaunchShape((int)(((long)values + Threads - 1) / Threads), launch.BatchCount, 1, Threads, 0), launch.Arguments);
    }

    /// <summary>The kernel for a pair of element types.</summary>
    /// <param name="sourceIsHalf">f16, else f32.</param>
    /// <param name="destinationIsHalf">f16, else f32.</param>
    public static KernelSpec Spec(bool sourceIsHalf, bool destinationIsHalf) => new(
        "conv/convert.cu", "convert_kernel", ("SOURCE_HALF", sourceIsHalf ? 1 : 0), ("DESTINATION_HALF", destinationIsHalf ? 1 : 0));
}

/// <summary>One launch of <see cref="ElementwiseConvertKernel"/>.</summary>
/// <param name="SourceIsHalf">The source holds f16, else f32.</param>
/// <param name="DestinationIsHalf">The destination holds f16, else f32.</param>
/// <param name="BatchCount">Batches, at most 65,535.</param>
/// <param name="Arguments">Addresses, extents and strides.</param>
internal readonly record struct ElementwiseConvertLaunch(bool SourceIsHalf, bool DestinationIsHalf, int BatchCount, ElementwiseConvertArguments Arguments)
{
    /// <summary>Rows of f32 to rows of f16, or back, where only the distance of rows differs.</summary>
    public static ElementwiseConvertLaunch Rows(
        DevicePointer source, bool sourceIsHalf, int sourceStride, DevicePointer destination, bool destinationIsHalf, int destinationStride, int rows, int columns) =>
        new(sourceIsHalf, destinationIsHalf, 1, new ElementwiseConvertArguments
        {
            Source = source,
            Destination = destination,
            Rows = rows,
            Columns = columns,
            SourceRowStride = sourceStride,
            SourceColumnStride = 1,
            DestinationRowStride = destinationStride,
            DestinationColumnStride = 1,
        });

    /// <summary>Planes f32 [B, C, P] to channels-last f16 [B, P, C padded to 8]: latents into the decoder.</summary>
    public static ElementwiseConvertLaunch PlanesToPixels(DevicePointer source, DevicePointer destination, int batchCount, int channels, int pixelCount)
    {
        var stride = (channels + 7) / 8 * 8;
        return new(SourceIsHalf: false, DestinationIsHalf: true, batchCount, new ElementwiseConvertArguments
        {
            Source = source,
            Destination = destination,
            Rows = pixelCount,
            Columns = channels,
            SourceRowStride = 1,
            SourceColumnStride = pixelCount,
            DestinationRowStride = stride,
            DestinationColumnStride = 1,
            SourceBatchStride = channels * pixelCount,
            DestinationBatchStride = stride * pixelCount,
        });
    }
}
