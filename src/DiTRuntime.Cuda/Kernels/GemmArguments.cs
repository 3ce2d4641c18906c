using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_weight</c> in kernels/abi/weight.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DeviceWeight
{
    public DevicePointer Records;
    public int RecordBytes;
    public int CorrectionsAt;
    public int ScalesAt;
    public int BiasAt;
    public int RecordCount;
    public int Steps;
    public int CorrectionSteps;
    public int GroupCount;
    public int Outputs;
    public int Inputs;
    public int PartRecords;
    public int BookCount;
    public DevicePointer Books;
}

/// <summary>Mirrors <c>dit_gemm</c> in kernels/abi/gemm.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GemmArguments
{
    public DeviceWeight Weight;
    public DevicePointer Input;
    public DevicePointer InputScales;
    public DevicePointer InputCorrections;
    public DevicePointer Output;
    public DeviceActivation Quantized;
    public DeviceModulation Modulation;
    public int Rows;
    public int InputStride;
    public int OutputStride;
    public int GateOffset;
    public int Tokens;
    public int HeadCount;
    public int HeadSize;
}
