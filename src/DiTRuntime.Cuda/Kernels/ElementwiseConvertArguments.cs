using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_elementwise_convert</c> in kernels/abi/elementwise.h. Strides are in elements.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ElementwiseConvertArguments
{
    public DevicePointer Source;
    public DevicePointer Destination;
    public int Rows;
    public int Columns;
    public int SourceRowStride;
    public int SourceColumnStride;
    public int DestinationRowStride;
    public int DestinationColumnStride;
    public int SourceBatchStride;
    public int DestinationBatchStride;
}
