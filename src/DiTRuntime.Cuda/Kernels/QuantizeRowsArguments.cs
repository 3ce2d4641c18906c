using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_quantize_rows</c> in kernels/abi/quantize.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct QuantizeRowsArguments
{
    public DevicePointer Input;
    public DeviceActivation Quantized;
    public int Rows;
}
