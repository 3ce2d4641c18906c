using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;
using ManagedCuda.BasicTypes;
using ManagedCuda.NVRTC;

namespace DiTRuntime.Cuda.Interop;

/// <summary>The functions of libnvrtc by way of ManagedCuda-NVRTC: takes the place of the own bindings with -p:CudaBinding=ManagedCuda.</summary>
/// <remarks>ManagedCuda finds the library itself, as libnvrtc.so or nvrtc64_120_0.dll on the system's search path.</remarks>
[SuppressMessage("Performance", "CA1822", Justification = "Called as the function pointers of the class whose place it takes.")]
internal sealed unsafe class NvrtcApi
{
    /// <param name="library">Where the own search found it; says well what is missing before ManagedCuda looks.</param>
    public NvrtcApi(SharedLibrary library)
    {
        try
        {
            int major, minor;
            nvrtcVersion(&major, &minor).ThrowIfFailed(this, "nvrtcVersion");
        }
        catch (DllNotFoundException e)
        {
            throw new GpuUnavailableException($"NVRTC is {library.File}, but ManagedCuda finds no libnvrtc.so (Windows: nvrtc64_120_0.dll) on the system's search path", e);
        }
    }

    public string Describe(int status) => NVRTCNativeMethods.nvrtcGetErrorString((nvrtcResult)status);
    public NvrtcStatus nvrtcVersion(int* major, int* minor) => Status(NVRTCNativeMethods.nvrtcVersion(ref *major, ref *minor));
    public NvrtcStatus nvrtcGetNumSupportedArchs(int* count) => Status(NVRTCNativeMethods.nvrtcGetNumSupportedArchs(ref *count));
    public NvrtcStatus nvrtcCreateProgram(nint* program, byte* source, byte* name, int count, byte** headers, byte** names) =>
        Status(NVRTCNativeMethods.nvrtcCreateProgram(ref *(nvrtcProgram*)program, Text(source), Text(name), count, Array(headers, count), Array(names, count)));
    public NvrtcStatus nvrtcDestroyProgram(nint* program) => Status(NVRTCNativeMethods.nvrtcDestroyProgram(ref *(nvrtcProgram*)program));
    public NvrtcStatus nvrtcCompileProgram(nint program, int count, byte** options) =>
        Status(NVRTCNativeMethods.nvrtcCompileProgram(Program(program), count, Array(options, count)));
    public NvrtcStatus nvrtcGetProgramLogSize(nint program, nuint* size) => Status(NVRTCNativeMethods.nvrtcGetProgramLogSize(Program(program), ref *(SizeT*)size));
    public NvrtcStatus nvrtcGetCUBINSize(nint program, nuint* size) => Status(NVRTCNativeMethods.nvrtcGetCUBINSize(Program(program), ref *(SizeT*)size));

    public NvrtcStatus nvrtcGetSupportedArchs(int* architectures)
    {
        int count;
        nvrtcGetNumSupportedArchs(&count).ThrowIfFailed(this, "nvrtcGetNumSupportedArchs");
        var copy = new int[count];
        var result = NVRTCNativeMethods.nvrtcGetSupportedArchs(copy);
        copy.CopyTo(new Span<int>(architectures, count));
        return Status(result);
    }

    public NvrtcStatus nvrtcGetProgramLog(nint program, byte* log)
    {
        nuint size;
        nvrtcGetProgramLogSize(program, &size).ThrowIfFailed(this, "nvrtcGetProgramLogSize");
        var copy = new byte[size];
        var result = NVRTCNativeMethods.nvrtcGetProgramLog(Program(program), copy);
        copy.CopyTo(new Span<byte>(log, copy.Length));
        return Status(result);
    }

    public NvrtcStatus nvrtcGetCUBIN(nint program, byte* cubin)
    {
        nuint size;
        nvrtcGetCUBINSize(program, &size).ThrowIfFailed(this, "nvrtcGetCUBINSize");
        var copy = new byte[size];
        var result = NVRTCNativeMethods.nvrtcGetCUBIN(Program(program), copy);
        copy.CopyTo(new Span<byte>(cubin, copy.Length));
        return Status(result);
    }

    private static NvrtcStatus Status(nvrtcResult result) => new((int)result);

    private static nvrtcProgram Program(nint value) => new() { Pointer = value };

    private static string Text(byte* text) => Marshal.PtrToStringUTF8((nint)text)!;

    private static nint[] Array(byte** texts, int count) => new ReadOnlySpan<nint>(texts, count).ToArray();
}
