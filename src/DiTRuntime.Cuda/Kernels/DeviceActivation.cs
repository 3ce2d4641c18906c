using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_activation</c> in kernels/abi/activation.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DeviceActivation
{
    public DevicePointer Codes;
    public DevicePointer Scales;
    public DevicePointer Corrections;
    public DevicePointer StaticScales;
    public DevicePointer StaticZeros;
}
