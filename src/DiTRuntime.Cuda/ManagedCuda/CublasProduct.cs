using ManagedCuda.BasicTypes;
using ManagedCuda.CudaBlas;

namespace DiTRuntime.Cuda.Devices;

/// <summary>cuBLAS's fp16 product by way of ManagedCuda-CUBLAS, which binds cuBLAS but not cuBLASLt; cublasGemmEx chooses among the same kernels.</summary>
public sealed unsafe class CublasProduct : IHalfProduct
{
    private const int WorkspaceBytes = 32 << 20;
    private readonly CudaDevice _device;
    private readonly GpuBuffer _workspace;
    private readonly CudaBlasHandle _handle;
    private bool _disposed;

    private CublasProduct(CudaDevice device)
    {
        _device = device;
        device.MakeCurrent();
        Check(CudaBlasNativeMethods.cublasCreate_v2(ref _handle), "cublasCreate_v2");
        try
        {
            var version = 0;
            Check(CudaBlasNativeMethods.cublasGetVersion_v2(_handle, ref version), "cublasGetVersion_v2");
            Library = $"cuBLAS {version / 10000}.{version / 100 % 100}.{version % 100}";
            _workspace = device.Allocate(WorkspaceBytes);
        }
        catch
        {
            CudaBlasNativeMethods.cublasDestroy_v2(_handle);
            throw;
        }
    }

    /// <inheritdoc/>
    public string Library { get; }

    /// <summary>Finds and loads it.</summary>
    /// <param name="device">Where products run; disposed after this.</param>
    /// <param name="library">Not used: ManagedCuda finds the library itself, as libcublas.so or cublas64_12.dll on the system's search path.</param>
    /// <exception cref="GpuUnavailableException">There is none.</exception>
    public static CublasProduct Load(CudaDevice device, string? library = null)
    {
        try
        {
            return new CublasProduct(device);
        }
        catch (DllNotFoundException e)
        {
            throw new GpuUnavailableException("ManagedCuda finds no libcublas.so (Windows: cublas64_12.dll) on the system's search path", e);
        }
    }

    /// <inheritdoc/>
    public void Multiply(GpuStream stream, DevicePointer x, DevicePointer w, DevicePointer y, int m, int n, int k)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        var own = CudaStream.Own<CudaStream>(stream);
        _device.MakeCurrent();
        Check(CudaBlasNativeMethods.cublasSetStream_v2(_handle, new CUstream { Pointer = own.Value }), "cublasSetStream_v2");
        // Setting the stream forgets the workspace.
        Check(CudaBlasNativeMethods.cublasSetWorkspace_v2(_handle, Address(_workspace.Pointer), (ulong)WorkspaceBytes), "cublasSetWorkspace_v2");
        var (one, zero) = (1f, 0f);
        // The library thinks in columns: a row-major [rows, columns] is its column-major [columns, rows]. So yᵀ [n, m] = (Wᵀ)ᵀ · xᵀ.
        Check(
            CudaBlasNativeMethods.cublasGemmEx(
                _handle, Operation.Transpose, Operation.NonTranspose, n, m, k, (nint)(&one), Address(w), cudaDataType.CUDA_R_16F, k, Address(x), cudaDataType.CUDA_R_16F, k,
                (nint)(&zero), Address(y), cudaDataType.CUDA_R_16F, n, ComputeType.Compute32F, GemmAlgo.Default),
            "cublasGemmEx");
        GC.KeepAlive(own);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        CudaBlasNativeMethods.cublasDestroy_v2(_handle);
        _workspace.Dispose();
    }

    private static CUdeviceptr Address(DevicePointer pointer) => new() { Pointer = pointer.Address };

    private static void Check(CublasStatus status, string call)
    {
        if (status != CublasStatus.Success) throw new GpuException($"{call}: {status} ({(int)status})");
    }
}
