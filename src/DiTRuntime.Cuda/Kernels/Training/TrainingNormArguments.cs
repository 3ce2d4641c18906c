using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>Mirrors <c>dit_training_norm</c> in kernels/abi/training_norm.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TrainingNormArguments
{
    public DevicePointer X;
    public DevicePointer Modulation;
    public DevicePointer OutputGradient;
    public DevicePointer Result;
    public DevicePointer Statistics;
    public int Rows;
    public int Hidden;
    public int Tokens;
    public int Stride;
    public float Epsilon;
}
