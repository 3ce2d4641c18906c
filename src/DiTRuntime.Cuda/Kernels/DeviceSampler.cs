using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_sampler</c> in kernels/abi/sampler.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DeviceSampler
{
    public DevicePointer Updates;
    public DevicePointer Noise;
    public DevicePointer Latents;
    public DevicePointer Step;
    public DevicePointer Ticket;
    public int UpdateCount;
    public int ImageCount;
}
