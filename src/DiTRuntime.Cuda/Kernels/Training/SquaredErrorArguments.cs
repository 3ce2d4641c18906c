using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>Mirrors <c>dit_squared_error</c> in kernels/abi/training_pointwise.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SquaredErrorArguments
{
    public DevicePointer X;
    public DevicePointer Target;
    public DevicePointer Gradient;
    public DevicePointer Partials;
    public int Count;
    public float Factor;
}
