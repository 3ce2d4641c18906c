using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>Mirrors <c>dit_training_attention</c> in kernels/abi/training_attention.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TrainingAttentionArguments
{
    public DevicePointer Qkv;
    public DevicePointer OutputGradient;
    public DevicePointer Output;
    public DevicePointer InputGradient;
    public DevicePointer Statistics;
    public int Tokens;
    public int Heads;
    public float Scale;
}
