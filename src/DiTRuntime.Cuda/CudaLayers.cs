using DiTRuntime.Backends;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda;

/// <summary>A patch embedding: W f32 [H, C·p·p], then the bias f32 [H].</summary>
internal sealed class CudaPatchEmbedding(LinearWeight weight, GpuBuffer storage) : PreparedLinear(weight.Name, weight.Outputs, weight.Inputs, null)
{
    public DevicePointer Weight => storage.Pointer;

    public DevicePointer Bias => storage.Pointer + (long)Outputs * Inputs * sizeof(float);

    protected override void Dispose(bool disposing)
    {
        if (disposing) storage.Dispose();
    }
}

/// <summary>The final layer, for single passes as a product, and for the fused end of a step as W f16 [N, H] and a bias f32 [N].</summary>
/// <param name="product">For <see cref="IDiTBackend.Linear"/>; owned.</param>
/// <param name="weight">W; owned.</param>
/// <param name="bias">b; owned.</param>
internal sealed class CudaFinalLayer(CudaLinear product, GpuBuffer weight, GpuBuffer bias) : PreparedLinear(product.Name, product.Outputs, product.Inputs, null)
{
    public CudaLinear Product => product;

    public DevicePointer Weight => weight.Pointer;

    public DevicePointer Bias => bias.Pointer;

    protected override void Dispose(bool disposing)
    {
        if (!disposing) return;
        product.Dispose();
        weight.Dispose();
        bias.Dispose();
    }
}
