using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>Mirrors <c>dit_training_product</c> in kernels/abi/training_product.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TrainingProductArguments
{
    public DevicePointer Left;
    public DevicePointer Right;
    public DevicePointer Result;
    public int Rows;
    public int Columns;
    public int Depth;
    public int Adds;
}
