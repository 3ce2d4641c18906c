using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Interop;

/// <summary>The functions of libcublasLt that are used, resolved once: one line for each native signature.</summary>
/// <remarks>Handles, descriptors, layouts and preferences are pointers.</remarks>
internal sealed unsafe class CublasLtApi(SharedLibrary library)
{
    public readonly delegate* unmanaged<nuint> cublasLtGetVersion = (delegate* unmanaged<nuint>)library.Function("cublasLtGetVersion");
    public readonly delegate* unmanaged<int, byte*> cublasLtGetStatusName = (delegate* unmanaged<int, byte*>)library.TryFunction("cublasLtGetStatusName");
    public readonly delegate* unmanaged<nint*, CublasStatus> cublasLtCreate = (delegate* unmanaged<nint*, CublasStatus>)library.Function("cublasLtCreate");
    public readonly delegate* unmanaged<nint, CublasStatus> cublasLtDestroy = (delegate* unmanaged<nint, CublasStatus>)library.Function("cublasLtDestroy");
    public readonly delegate* unmanaged<nint*, int, int, CublasStatus> cublasLtMatmulDescCreate = (delegate* unmanaged<nint*, int, int, CublasStatus>)library.Function("cublasLtMatmulDescCreate");
    public readonly delegate* unmanaged<nint, int, void*, nuint, CublasStatus> cublasLtMatmulDescSetAttribute =
        (delegate* unmanaged<nint, int, void*, nuint, CublasStatus>)library.Function("cublasLtMatmulDescSetAttribute");
    public readonly delegate* unmanaged<nint, CublasStatus> cublasLtMatmulDescDestroy = (delegate* unmanaged<nint, CublasStatus>)library.Function("cublasLtMatmulDescDestroy");
    public readonly delegate* unmanaged<nint*, int, ulong, ulong, long, CublasStatus> cublasLtMatrixLayoutCreate =
        (delegate* unmanaged<nint*, int, ulong, ulong, long, CublasStatus>)library.Function("cublasLtMatrixLayoutCreate");
    public readonly delegate* unmanaged<nint, CublasStatus> cublasLtMatrixLayoutDestroy = (delegate* unmanaged<nint, CublasStatus>)library.Function("cublasLtMatrixLayoutDestroy");
    public readonly delegate* unmanaged<nint*, CublasStatus> cublasLtMatmulPreferenceCreate = (delegate* unmanaged<nint*, CublasStatus>)library.Function("cublasLtMatmulPreferenceCreate");
    public readonly delegate* unmanaged<nint, int, void*, nuint, CublasStatus> cublasLtMatmulPreferenceSetAttribute =
        (delegate* unmanaged<nint, int, void*, nuint, CublasStatus>)library.Function("cublasLtMatmulPreferenceSetAttribute");
    public readonly delegate* unmanaged<nint, CublasStatus> cublasLtMatmulPreferenceDestroy = (delegate* unmanaged<nint, CublasStatus>)library.Function("cublasLtMatmulPreferenceDestroy");
    public readonly delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, int, CublasHeuristic*, int*, CublasStatus> cublasLtMatmulAlgoGetHeuristic =
        (delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, int, CublasHeuristic*, int*, CublasStatus>)library.Function("cublasLtMatmulAlgoGetHeuristic");

    // handle, operation, alpha, A, its layout, B, its layout, beta, C, its layout, D, its layout, algorithm, workspace, its bytes, stream.
    public readonly delegate* unmanaged<nint, nint, float*, ulong, nint, ulong, nint, float*, ulong, nint, ulong, nint, CublasHeuristic*, ulong, nuint, nint, CublasStatus> cublasLtMatmul =
        (delegate* unmanaged<nint, nint, float*, ulong, nint, ulong, nint, float*, ulong, nint, ulong, nint, CublasHeuristic*, ulong, nuint, nint, CublasStatus>)library.Function("cublasLtMatmul");
}

/// <summary>Values of cuBLAS's enumerations that are used.</summary>
internal static class CublasValue
{
    public const int CUDA_R_32F = 0;
    public const int CUDA_R_16F = 2;
    public const int CUBLAS_COMPUTE_32F = 68;
    public const int CUBLAS_OP_T = 1;
    public const int CUBLASLT_MATMUL_DESC_TRANSA = 3;
    public const int CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1;
}

/// <summary>cublasLtMatmulHeuristicResult_t; begins with the cublasLtMatmulAlgo_t.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct CublasHeuristic
{
    public Words Algorithm;
    public nuint WorkspaceSize;
    public int State;
    public float WavesCount;
    public Rest Reserved;

    [InlineArray(8)]
    public struct Words
    {
        private ulong _first;
    }

    [InlineArray(4)]
    public struct Rest
    {
        private int _first;
    }
}

/// <summary>What a function of cuBLAS returns.</summary>
/// <param name="value">The native code.</param>
internal readonly struct CublasStatus(int value)
{
    private readonly int _value = value;

    /// <summary>Turns a failure into an exception with the library's own name for it.</summary>
    /// <exception cref="GpuException">It failed.</exception>
    public unsafe void ThrowIfFailed(CublasLtApi api, string call)
    {
        if (_value == 0) return;
        var name = api.cublasLtGetStatusName is null ? "error" : Marshal.PtrToStringUTF8((nint)api.cublasLtGetStatusName(_value));
        throw new GpuException($"{call}: {name} ({_value})");
    }
}
