using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace DiTRuntime.Checkpoints;

/// <summary>Stored little-endian elements to fp32.</summary>
internal static class ElementConversion
{
    public static void ToSingle(ReadOnlySpan<byte> source, ElementType type, Span<float> destination)
    {
        switch (type)
        {
            case ElementType.F32:
                MemoryMarshal.Cast<byte, float>(source).CopyTo(destination);
                break;
            case ElementType.F16:
                TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(source), destination);
                break;
            case ElementType.BF16:
                var words = MemoryMarshal.Cast<byte, ushort>(source);
                var bits = MemoryMarshal.Cast<float, uint>(destination);
                for (var i = 0; i < words.Length; i++) bits[i] = (uint)words[i] << 16;
                break;
            case ElementType.F64:
                Convert(MemoryMarshal.Cast<byte, double>(source), destination);
                break;
            case ElementType.I64:
                Convert(MemoryMarshal.Cast<byte, long>(source), destination);
                break;
            case ElementType.I32:
                Convert(MemoryMarshal.Cast<byte, int>(source), destination);
                break;
            case ElementType.I16:
                Convert(MemoryMarshal.Cast<byte, short>(source), destination);
                break;
            case ElementType.I8:
                Convert(MemoryMarshal.Cast<byte, sbyte>(source), destination);
                break;
            case ElementType.U64:
                Convert(MemoryMarshal.Cast<byte, ulong>(source), destination);
                break;
            case ElementType.U32:
                Convert(MemoryMarshal.Cast<byte, uint>(source), destination);
                break;
            case ElementType.U16:
                Convert(MemoryMarshal.Cast<byte, ushort>(source), destination);
                break;
            default:
                Convert(source, destination);
                break;
        }
    }

    private static void Convert<T>(ReadOnlySpan<T> source, Span<float> destination)
        where T : unmanaged, System.Numerics.INumberBase<T> => TensorPrimitives.ConvertTruncating(source, destination);
}
