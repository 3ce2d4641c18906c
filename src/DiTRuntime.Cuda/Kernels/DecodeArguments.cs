using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Mirrors <c>dit_decode</c> in kernels/abi/decode.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DecodeArguments
{
    public DevicePointer Packed;
    public DevicePointer Books;
    public DevicePointer Table;
    public DevicePointer Records;
    public int PackedBytes;
    public int PackedCodes;
    public int RecordBytes;
    public int RecordCodes;
    public int Steps;
    public int GroupSize;
    public int GroupPitch;
    public int Inputs;
    public int PartRows;
    public int LastBook;
    public int BookSize;
}
