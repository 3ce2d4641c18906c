using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_modulation</c> in kernels/abi/modulation.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DeviceModulation
{
    public DevicePointer Table;
    public DevicePointer Rows;
    public DevicePointer Step;
    public int Stride;
    public int SampleCount;
}
