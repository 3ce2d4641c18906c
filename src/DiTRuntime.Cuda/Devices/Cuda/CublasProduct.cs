using DiTRuntime.Cuda.Interop;

namespace DiTRuntime.Cuda.Devices;

/// <summary>cuBLASLt's fp16 product, by the algorithm its own heuristic puts first, with 32 MiB of workspace.</summary>
public sealed unsafe class CublasProduct : IHalfProduct
{
    private const int WorkspaceBytes = 32 << 20;
    private readonly SharedLibrary _library;
    private readonly CublasLtApi _api;
    private readonly CudaDevice _device;
    private readonly GpuBuffer _workspace;
    private readonly nint _handle;
    private readonly Dictionary<(int M, int N, int K), Plan> _plans = [];
    private bool _disposed;

    private CublasProduct(CudaDevice device, SharedLibrary library)
    {
        _library = library;
        _api = new CublasLtApi(library);
        _device = device;
        device.MakeCurrent();
        var version = (long)_api.cublasLtGetVersion();
        Library = $"cuBLASLt {version / 10000}.{version / 100 % 100}.{version % 100}";
        _workspace = device.Allocate(WorkspaceBytes);
        try
        {
            nint handle;
            Check(_api.cublasLtCreate(&handle), "cublasLtCreate");
            _handle = handle;
        }
        catch
        {
            _workspace.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public string Library { get; }

    /// <summary>Finds and loads it.</summary>
    /// <param name="device">Where products run; disposed after this.</param>
    /// <param name="library">The library's file; null searches as docs/gpu-driver.md says.</param>
    /// <exception cref="GpuUnavailableException">There is none.</exception>
    public static CublasProduct Load(CudaDevice device, string? library = null)
    {
        var loaded = SharedLibrary.Load(LibrarySearch.CublasLt, library);
        try
        {
            return new CublasProduct(device, loaded);
        }
        catch
        {
            loaded.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Multiply(GpuStream stream, DevicePointer x, DevicePointer w, DevicePointer y, int m, int n, int k)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        var own = CudaStream.Own<CudaStream>(stream);
        _device.MakeCurrent();
        if (!_plans.TryGetValue((m, n, k), out var plan)) _plans.Add((m, n, k), plan = MakePlan(m, n, k));
        var (one, zero, heuristic) = (1f, 0f, plan.Heuristic);
        Check(
            _api.cublasLtMatmul(
                _handle, plan.Operation, &one, w.Address, plan.W, x.Address, plan.X, &zero, y.Address, plan.Y, y.Address, plan.Y, &heuristic, _workspace.Pointer.Address, WorkspaceBytes, own.Value),
            "cublasLtMatmul");
        GC.KeepAlive(own);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        foreach (var plan in _plans.Values) Destroy(plan);
        _api.cublasLtDestroy(_handle);
        _workspace.Dispose();
        _library.Dispose();
    }

    // The library thinks in columns: a row-major [rows, columns] is its column-major [columns, rows]. So yᵀ [n, m] = (Wᵀ)ᵀ · xᵀ.
    private Plan MakePlan(int m, int n, int k)
    {
        var plan = new Plan();
        nint preference = 0;
        try
        {
            Check(_api.cublasLtMatmulDescCreate(&plan.Operation, CublasValue.CUBLAS_COMPUTE_32F, CublasValue.CUDA_R_32F), "cublasLtMatmulDescCreate");
            var transposed = CublasValue.CUBLAS_OP_T;
            Check(_api.cublasLtMatmulDescSetAttribute(plan.Operation, CublasValue.CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(int)), "cublasLtMatmulDescSetAttribute");
            plan.W = Layout(k, n);
            plan.X = Layout(k, m);
            plan.Y = Layout(n, m);
            Check(_api.cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
            nuint workspace = WorkspaceBytes;
            Check(_api.cublasLtMatmulPreferenceSetAttribute(preference, CublasValue.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, (nuint)sizeof(nuint)), "cublasLtMatmulPreferenceSetAttribute");
            int found;
            Check(
                _api.cublasLtMatmulAlgoGetHeuristic(_handle, plan.Operation, plan.W, plan.X, plan.Y, plan.Y, preference, 1, &plan.Heuristic, &found),
                "cublasLtMatmulAlgoGetHeuristic");
            if (found == 0) throw new GpuException($"{Library} has no algorithm for {m}x{k} times {k}x{n}");
            return plan;
        }
        catch
        {
            Destroy(plan);
            throw;
        }
        finally
        {
            if (preference != 0) _api.cublasLtMatmulPreferenceDestroy(preference);
        }
    }

    private nint Layout(int rows, int columns)
    {
        nint layout;
        Check(_api.cublasLtMatrixLayoutCreate(&layout, CublasValue.CUDA_R_16F, (ulong)rows, (ulong)columns, rows), "cublasLtMatrixLayoutCreate");
        return layout;
    }

    private void Destroy(Plan plan)
    {
        foreach (var layout in new[] { plan.W, plan.X, plan.Y })
        {
            if (layout != 0) _api.cublasLtMatrixLayoutDestroy(layout);
        }

        if (plan.Operation != 0) _api.cublasLtMatmulDescDestroy(plan.Operation);
    }

    private void Check(CublasStatus status, string call) => status.ThrowIfFailed(_api, call);

    private struct Plan
    {
        public nint Operation;
        public nint W;
        public nint X;
        public nint Y;
        public CublasHeuristic Heuristic;
    }
}
