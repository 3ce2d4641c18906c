using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_attention</c> in kernels/abi/attention.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct AttentionArguments
{
    public DevicePointer Qkv;
    public DevicePointer Output;
    public DeviceActivation Quantized;
    public int Batch;
    public int Heads;
    public int Tokens;
    public float ScoreScale;
}
