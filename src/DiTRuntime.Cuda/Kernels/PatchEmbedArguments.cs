using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_patch_embed</c> in kernels/abi/embed.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PatchEmbedArguments
{
    public DevicePointer Latents;
    public DevicePointer ImageOfSample;
    public DevicePointer Weight;
    public DevicePointer Bias;
    public DevicePointer Positions;
    public DevicePointer Tokens;
    public int Batch;
    public int Side;
}
