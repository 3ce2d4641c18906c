namespace DiTRuntime.Cuda.Devices;

/// <summary>An address in a device's memory, as a kernel's argument struct holds it: eight bytes.</summary>
/// <param name="Address">The address; 0 is null.</param>
public readonly record struct DevicePointer(ulong Address)
{
    /// <summary>No memory.</summary>
    public static DevicePointer Null => default;

    /// <summary>The address so many bytes further on.</summary>
    public static DevicePointer operator +(DevicePointer pointer, long byteOffset) => new(pointer.Address + (ulong)byteOffset);

    /// <inheritdoc cref="op_Addition"/>
    public DevicePointer Add(long byteOffset) => this + byteOffset;
}
