using DiTRuntime.Backends.Training;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>The three products of a linear layer in fp32.</summary>
/// <param name="library">The device's kernels.</param>
internal sealed class TrainingProductKernel(KernelLibrary library)
{
    private const int Threads = 128, TileRows = 128, TileColumns = 64, TileDepth = 16;

    /// <summary>Launches.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="product">Which.</param>
    /// <param name="arguments">Factors, result, sizes.</param>
    /// <exception cref="GpuUnavailableException">Rows of a factor are no multiple of 4 values.</exception>
    public void Launch(GpuStream stream, LinearProduct product, in TrainingProductArguments arguments)
    {
        int rows = arguments.Rows, columns = arguments.Columns, depth = arguments.Depth;
        TrainingWidth.Check("training a linear layer", product == LinearProduct.WeightGradient ? rows : depth);
        TrainingWidth.Check("training a linear layer", product == LinearProduct.Output ? depth : columns);
        var shape = new LaunchShape((rows + TileRows - 1) / TileRows, (columns + TileColumns - 1) / TileColumns, 1, Threads, SharedBytes(product));
        stream.Launch(library.Get(Spec(product)), shape, arguments);
    }

    /// <summary>The specialisation for a product.</summary>
    public static KernelSpec Spec(LinearProduct product) => new("training/product.cu", "training_product_kernel", ("PRODUCT", (int)product));

    /// <summary>Two stages; rows along the depth lie 16 bytes apart.</summary>
    private static int SharedBytes(LinearProduct product)
    {
        return 2 * (Tile(TileRows, product != LinearProduct.WeightGradient) + Tile(TileColumns, product == LinearProduct.Output));

        static int Tile(int extent, bool alongDepth) => extent * (TileDepth * sizeof(float) + (alongDepth ? 16 : 0));
    }
}
