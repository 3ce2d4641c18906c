using System.Runtime.InteropServices;

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

    /// <summary>The library's own text for a status.</summary>
    public string Describe(int status) => Marshal.PtrToStringUTF8((nint)nvrtcGetErrorString(status)) ?? "unknown error";
}
