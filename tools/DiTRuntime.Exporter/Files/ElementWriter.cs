using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Exporter.Files;

/// <summary>Writes values that came from fp32, fp16 or bf16 in that type again: nothing is rounded.</summary>
internal static class ElementWriter
{
    /// <summary>The file's word for a type.</summary>
    public static FileElement Of(ElementType type) => type switch
    {
        ElementType.F16 => FileElement.F16,
        ElementType.BF16 => FileElement.BF16,
        _ => FileElement.F32,
    };

    /// <summary>Bytes of an element.</summary>
    public static int ByteSize(FileElement element) => element == FileElement.F32 ? 4 : 2;

    /// <summary>Writes values.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="values">Each of them a value of the type.</param>
    /// <param name="element">The type.</param>
    public static void Write(Stream stream, ReadOnlySpan<float> values, FileElement element)
    {
        if (element == FileElement.F32)
        {
            stream.Write(MemoryMarshal.AsBytes(values));
            return;
        }

        var words = new ushort[values.Length];
        if (element == FileElement.F16) TensorPrimitives.ConvertToHalf(values, MemoryMarshal.Cast<ushort, Half>(words.AsSpan()));
        else for (var i = 0; i < words.Length; i++) words[i] = (ushort)(BitConverter.SingleToUInt32Bits(values[i]) >> 16);
        stream.Write(MemoryMarshal.AsBytes<ushort>(words));
    }
}
