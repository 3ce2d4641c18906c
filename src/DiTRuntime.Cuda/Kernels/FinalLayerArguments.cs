using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_final_layer</c> in kernels/abi/final_layer.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct FinalLayerArguments
{
    public DevicePointer Tokens;
    public DeviceModulation Modulation;
    public DevicePointer Weight;
    public DevicePointer Bias;
    public DeviceSampler Sampler;
    public DevicePointer Prediction;
    public int Side;
    public float Epsilon;
}
