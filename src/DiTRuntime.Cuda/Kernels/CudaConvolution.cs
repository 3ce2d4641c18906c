using DiTRuntime.Backends;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>A convolution's weight on a device.</summary>
internal sealed class CudaConvolution : PreparedConvolution
{
    private readonly GpuBuffer _storage;

    /// <param name="packed">What <see cref="ConvolutionPacker"/> made.</param>
    /// <param name="storage">Holds its bytes; disposed with the layer.</param>
    public CudaConvolution(PackedConvolution packed, GpuBuffer storage)
        : base(packed.Name, packed.Outputs, packed.Inputs, packed.KernelSize)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(storage.ByteCount, packed.Bytes.Length);
        _storage = storage;
        Bias = storage.Pointer + packed.BiasOffset;
    }

    /// <summary>Fragments, f16 [Cout/16, K/16, 32, 8].</summary>
    public DevicePointer Weights => _storage.Pointer;

    /// <summary>F32 [Cout rounded up to 16]; zero where there is none.</summary>
    public DevicePointer Bias { get; }

    protected override void Dispose(bool disposing)
    {
        if (disposing) _storage.Dispose();
    }
}
