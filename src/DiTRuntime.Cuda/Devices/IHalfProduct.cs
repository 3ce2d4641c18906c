namespace DiTRuntime.Cuda.Devices;

/// <summary>A vendor's fp16 matrix product, with fp32 accumulation: what benchmarks compare with. Never used by the engine.</summary>
public interface IHalfProduct : IDisposable
{
    /// <summary>Name and version of the library.</summary>
    string Library { get; }

    /// <summary>y = x·Wᵀ, in a stream. The first product of a shape also chooses how; later ones only launch.</summary>
    /// <param name="stream">A stream of the device it was made for.</param>
    /// <param name="x">f16 [m, k].</param>
    /// <param name="w">f16 [n, k].</param>
    /// <param name="y">f16 [m, n].</param>
    /// <param name="m">Rows.</param>
    /// <param name="n">Columns.</param>
    /// <param name="k">Depth.</param>
    /// <exception cref="GpuException">The library refuses the shape, or fails.</exception>
    void Multiply(GpuStream stream, DevicePointer x, DevicePointer w, DevicePointer y, int m, int n, int k);
}
