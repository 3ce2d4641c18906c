using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Launches kernels/codebook/decode.cu: makes the records that a product reads of a codebook weight it cannot look up.</summary>
/// <param name="library">Kernels of the device.</param>
internal sealed class DecodeKernel(KernelLibrary library)
{
    private const int Threads = 128, BlockSteps = Threads / 32;

    private readonly Dictionary<CodebookLayout, GpuKernel> _kernels = [];

    /// <summary>Decodes a layer.</summary>
    /// <param name="stream">Where.</param>
    /// <param name="layer">A layer of <see cref="WeightLayout.IsDecoded"/>.</param>
    /// <param name="records">Where to: <see cref="CudaLinear.DecodedBytes"/>.</param>
    public void Launch(GpuStream stream, CudaLinear layer, DevicePointer records)
    {
        var layout = layer.Layout;
        if (!_kernels.TryGetValue(layout.Books!, out var kernel)) _kernels.Add(layout.Books!, kernel = library.Get(Spec(layout)));
        var shape = new LaunchShape((layout.Steps + BlockSteps - 1) / BlockSteps, WeightLayout.RecordCount(layer.Outputs), 1, Threads, 0);
        stream.Launch(kernel, shape, layer.Decode(records));
    }

    /// <summary>The specialisation for a layout.</summary>
    public static KernelSpec Spec(WeightLayout layout)
    {
        var books = layout.Books!;
        return new KernelSpec(
            "codebook/decode.cu",
            "decode_kernel",
            ("VECTOR", books.Format.VectorLength),
            ("ELEMENT", books.ElementBytes),
            ("CODE_BYTES", books.CodeBytes),
            ("TABLE_BYTES", books.TableBytes),
            ("PRODUCT", books.Format.IsProduct ? 1 : 0));
    }
}
