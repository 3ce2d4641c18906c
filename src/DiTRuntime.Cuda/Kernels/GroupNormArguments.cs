using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_group_norm</c> in kernels/abi/group_norm.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GroupNormArguments
{
    public DevicePointer Input;
    public DevicePointer Gamma;
    public DevicePointer Beta;
    public DevicePointer Partials;
    public DevicePointer Output;
    public int PixelCount;
    public int Channels;
    public int GroupCount;
    public int SlabPixels;
    public float Epsilon;
}
