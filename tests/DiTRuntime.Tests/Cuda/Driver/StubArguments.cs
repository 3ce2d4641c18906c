using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Tests.Cuda.Driver;

/// <summary>What the stub's store_kernel takes: it writes the value.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct StoreArguments
{
    public const string Kernel = "store_kernel 16";

    public DevicePointer Destination;
    public int Value;
    public int Unused;
}

/// <summary>Pointers between other fields and inside another struct.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NestedArguments
{
    public const string Kernel = "nested_kernel 48";

    public byte First;
    public StoreArguments Inner;
    public float Scale;
    public DevicePointer Last;
    public short End;
}
