using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels.Training;

/// <summary>Mirrors <c>dit_assign</c> in kernels/abi/assign.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct AssignArguments
{
    public DevicePointer Points;
    public DevicePointer Weights;
    public DevicePointer Codewords;
    public DevicePointer Codes;
    public DevicePointer Distances;
    public int PointCount;
    public int CodewordCount;
}
