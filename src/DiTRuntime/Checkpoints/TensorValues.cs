using System.Runtime.InteropServices;

namespace DiTRuntime.Checkpoints;

/// <summary>A small tensor in memory, ready to be written.</summary>
public sealed class TensorValues
{
    private TensorValues(string name, ElementType type, int[] shape, byte[] bytes)
    {
        Description = new TensorDescription(name, type, shape);
        Bytes = bytes;
        if (Description.ByteCount != bytes.Length)
            throw new ArgumentException($"{name}: {bytes.Length / type.ByteSize()} values for the shape {TensorRules.Text<int>(shape)}");
    }

    /// <summary>Name, type and shape.</summary>
    public TensorDescription Description { get; }

    /// <summary>The elements, row-major and little-endian.</summary>
    public ReadOnlyMemory<byte> Bytes { get; }

    /// <summary>A tensor of fp32 values, row-major; they are copied.</summary>
    /// <exception cref="ArgumentException">The shape has another number of elements.</exception>
    public static TensorValues Of(string name, int[] shape, ReadOnlySpan<float> values) =>
        new(name, ElementType.F32, shape, MemoryMarshal.AsBytes(values).ToArray());

    /// <summary>A tensor of 64-bit integers, row-major; they are copied.</summary>
    /// <exception cref="ArgumentException">The shape has another number of elements.</exception>
    public static TensorValues Of(string name, int[] shape, ReadOnlySpan<long> values) =>
        new(name, ElementType.I64, shape, MemoryMarshal.AsBytes(values).ToArray());
}
