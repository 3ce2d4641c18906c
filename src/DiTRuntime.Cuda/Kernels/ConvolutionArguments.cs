using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_convolution</c> in kernels/abi/convolution.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ConvolutionArguments
{
    public DevicePointer Input;
    public DevicePointer Weights;
    public DevicePointer Bias;
    public DevicePointer Residual;
    public DevicePointer Output;
    public int SampleCount;
    public int Height;
    public int Width;
    public int Inputs;
    public int Outputs;
    public int KernelSize;
}
