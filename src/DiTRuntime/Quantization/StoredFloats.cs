using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>The values that a packed file keeps in floating point: F16, or F32 where a value is too large for it.</summary>
internal static class StoredFloats
{
    /// <summary>The element type that values are stored in.</summary>
    public static ElementType TypeOf(ReadOnlySpan<float> values) => Fit(values) ? ElementType.F16 : ElementType.F32;

    /// <summary>Whether F16 can hold the values.</summary>
    public static bool Fit(ReadOnlySpan<float> values) => values.IsEmpty || (Half)TensorPrimitives.MaxMagnitude(values) is var largest && Half.IsFinite(largest);

    /// <summary>The values as they will be read back.</summary>
    public static float[] Round(ReadOnlySpan<float> values)
    {
        var rounded = values.ToArray();
        if (!Fit(values)) return rounded;
        var halves = new Half[values.Length];
        TensorPrimitives.ConvertToHalf(values, halves);
        TensorPrimitives.ConvertToSingle(halves, rounded);
        return rounded;
    }

    /// <summary>Writes values in an element type.</summary>
    public static void Write(ReadOnlySpan<float> values, ElementType type, Stream stream)
    {
        if (type == ElementType.F32)
        {
            stream.Write(MemoryMarshal.AsBytes(values));
            return;
        }

        var halves = new Half[values.Length];
        TensorPrimitives.ConvertToHalf(values, halves);
        stream.Write(MemoryMarshal.AsBytes<Half>(halves));
    }
}
