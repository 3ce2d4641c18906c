using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_unpatchify</c> in kernels/abi/sampler.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UnpatchifyArguments
{
    public DevicePointer Patches;
    public DevicePointer Output;
    public int SampleCount;
    public int Channels;
    public int Side;
    public int Patch;
}
