using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_guide_and_update</c> in kernels/abi/sampler.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GuideAndUpdateArguments
{
    public DeviceSampler Sampler;
    public DevicePointer Prediction;
    public int Channels;
    public int OutChannels;
    public int PlaneSize;
}
