using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_norm_modulate</c> in kernels/abi/norm.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NormModulateArguments
{
    public DevicePointer Tokens;
    public DevicePointer Output;
    public DeviceActivation Quantized;
    public DeviceModulation Modulation;
    public int Rows;
    public int TokensPerSample;
    public int ShiftOffset;
    public float Epsilon;
}
