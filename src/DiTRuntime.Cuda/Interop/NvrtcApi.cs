using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Interop;

/// <summary>The functions of libnvrtc that are used, resolved once: one line for each native signature.</summary>
internal sealed unsafe class NvrtcApi(SharedLibrary library)
{
    public readonly delegate* unmanaged<int, byte*> nvrtcGetErrorString = (delegate* unmanaged<int, byte*>)library.Function("nvrtcGetErrorString");
    public readonly delegate* unmanaged<int*, int*, NvrtcStatus> nvrtcVersion = (delegate* unmanaged<int*, int*, NvrtcStatus>)library.Function("nvrtcVersion");

    // From 11.2 on; a version below 11.8 is refused before they are called.
    public readonly delegate* unmanaged<int*, NvrtcStatus> nvrtcGetNumSupportedArchs = (delegate* unmanaged<int*, NvrtcStatus>)library.TryFunction("nvrtcGetNumSupportedArchs");
    public readonly delegate* unmanaged<int*, NvrtcStatus> nvrtcGetSupportedArchs = (delegate* unmanaged<int*, NvrtcStatus>)library.TryFunction("nvrtcGetSupportedArchs");
    public readonly delegate* unmanaged<nint, nuint*, NvrtcStatus> nvrtcGetCUBINSize = (delegate* unmanaged<nint, nuint*, NvrtcStatus>)library.TryFunction("nvrtcGetCUBINSize");
    public readonly delegate* unmanaged<nint, byte*, NvrtcStatus> nvrtcGetCUBIN = (delegate* unmanaged<nint, byte*, NvrtcStatus>)library.TryFunction("nvrtcGetCUBIN");

    public readonly delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, NvrtcStatus> nvrtcCreateProgram =
        (delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, NvrtcStatus>)library.Function("nvrtcCreateProgram");
    public readonly delegate* unmanaged<nint*, NvrtcStatus> nvrtcDestroyProgram = (delegate* unmanaged<nint*, NvrtcStatus>)library.Function("nvrtcDestroyProgram");
    public readonly delegate* unmanaged<nint, int, byte**, NvrtcStatus> nvrtcCompileProgram =
        (delegate* unmanaged<nint, int, byte**, NvrtcStatus>)library.Function("nvrtcCompileProgram");
    public readonly delegate* unmanaged<nint, nuint*, NvrtcStatus> nvrtcGetProgramLogSize = (delegate* unmanaged<nint, nuint*, NvrtcStatus>)library.Function("nvrtcGetProgramLogSize");
    public readonly delegate* unmanaged<nint, byte*, NvrtcStatus> nvrtcGetProgramLog = (delegate* unmanaged<nint, byte*, NvrtcStatus>)library.Function("nvrtcGetProgramLog");
}

/// <summary>What a function of libnvrtc returns.</summary>
/// <param name="value">The native code.</param>
internal readonly struct NvrtcStatus(int value)
{
    private const int Compilation = 6;
    private readonly int _value = value;

    /// <summary>Whether the source, and nothing else, is at fault.</summary>
    public bool IsCompilationError => _value == Compilation;

    /// <summary>Turns a failure into an exception with the library's own text.</summary>
    /// <param name="api">Knows the text.</param>
    /// <param name="call">What was called.</param>
    /// <param name="log">What else the compiler said.</param>
    /// <exception cref="GpuException">It failed.</exception>
    public unsafe void ThrowIfFailed(NvrtcApi api, string call, string? log = null)
    {
        if (_value == 0) return;
        var text = Marshal.PtrToStringUTF8((nint)api.nvrtcGetErrorString(_value)) ?? "unknown error";
        throw new GpuException($"{call}: {text} ({_value}){(string.IsNullOrEmpty(log) ? string.Empty : ": " + log)}");
    }
}
