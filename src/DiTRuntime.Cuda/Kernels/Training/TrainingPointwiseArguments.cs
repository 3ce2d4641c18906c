using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>Mirrors <c>dit_training_pointwise</c> in kernels/abi/training_pointwise.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TrainingPointwiseArguments
{
    public DevicePointer Input;
    public DevicePointer Factor;
    public DevicePointer Result;
    public int Rows;
    public int Columns;
    public int Tokens;
    public int Stride;
}
