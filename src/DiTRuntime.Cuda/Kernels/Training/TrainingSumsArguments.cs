using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>Mirrors <c>dit_training_sums</c> in kernels/abi/training_sums.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TrainingSumsArguments
{
    public DevicePointer Gradient;
    public DevicePointer Values;
    public DevicePointer Statistics;
    public DevicePointer Result;
    public int Rows;
    public int Columns;
    public int Stride;
}
