using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_condition</c> in kernels/abi/condition.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ConditionArguments
{
    public DevicePointer TimestepEmbedding;
    public DevicePointer LabelTable;
    public DevicePointer Labels;
    public DevicePointer Condition;
    public int Rows;
}

/// <summary>Mirrors <c>dit_timestep_features</c> in kernels/abi/condition.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TimestepFeaturesArguments
{
    public DevicePointer Timesteps;
    public DevicePointer Frequencies;
    public DevicePointer Features;
    public int Rows;
}
