using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using DiTRuntime.Checkpoints;
using DiTRuntime.Serving.Http;

namespace DiTRuntime.Serving.KServe;

/// <summary>An input whose data have been checked against its shape and datatype.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Its datatype.</param>
/// <param name="Shape">Positive extents.</param>
/// <param name="Data">Elements in row-major order as the binary extension lays them: little-endian, BYTES with their lengths in front.</param>
internal sealed record InferTensor(string Name, InferDatatype Type, IReadOnlyList<int> Shape, ReadOnlyMemory<byte> Data)
{
    /// <summary>The values of an INT32 tensor of one dimension.</summary>
    /// <exception cref="ApiException">It is something else.</exception>
    public int[] ToInt32Vector() => Vector(InferDatatype.Int32, MemoryMarshal.Cast<byte, int>(Data.Span));

    /// <summary>The values of an INT64 tensor of one dimension.</summary>
    /// <exception cref="ApiException">It is something else.</exception>
    public long[] ToInt64Vector() => Vector(InferDatatype.Int64, MemoryMarshal.Cast<byte, long>(Data.Span));

    /// <summary>The value of an INT32 tensor [1].</summary>
    /// <exception cref="ApiException">It is something else.</exception>
    public int ToInt32()
    {
        Expect(InferDatatype.Int32, [1]);
        return BinaryPrimitives.ReadInt32LittleEndian(Data.Span);
    }

    /// <summary>The value of an FP32 tensor [1].</summary>
    /// <exception cref="ApiException">It is something else.</exception>
    public float ToSingle()
    {
        Expect(InferDatatype.Fp32, [1]);
        return BinaryPrimitives.ReadSingleLittleEndian(Data.Span);
    }

    /// <summary>The text of a BYTES tensor [1].</summary>
    /// <exception cref="ApiException">It is something else.</exception>
    public string ToText()
    {
        Expect(InferDatatype.Bytes, [1]);
        return Encoding.UTF8.GetString(Data.Span[sizeof(int)..]);
    }

    /// <summary>The values of an FP32 tensor, all of them finite.</summary>
    /// <param name="shape">The shape it must have.</param>
    /// <exception cref="ApiException">It is something else, or holds what is no number.</exception>
    public float[] ToSingles(ReadOnlySpan<int> shape)
    {
        Expect(InferDatatype.Fp32, shape);
        var values = MemoryMarshal.Cast<byte, float>(Data.Span).ToArray();
        var bad = Array.FindIndex(values, v => !float.IsFinite(v));
        return bad < 0 ? values : throw TensorError.In(Name, $"element {bad} is {values[bad]}, expected finite numbers");
    }

    private T[] Vector<T>(InferDatatype type, ReadOnlySpan<T> values)
    {
        Expect(type);
        return Shape.Count == 1 ? values.ToArray() : throw TensorError.In(Name, $"shape {Text([.. Shape])}, expected one dimension");
    }

    private void Expect(InferDatatype type, ReadOnlySpan<int> shape)
    {
        Expect(type);
        if (!shape.SequenceEqual([.. Shape])) throw TensorError.In(Name, $"shape {Text([.. Shape])}, expected {Text(shape)}");
    }

    private void Expect(InferDatatype type)
    {
        if (Type != type) throw TensorError.In(Name, $"datatype {Type.Name()}, expected {type.Name()}");
    }

    private static string Text(ReadOnlySpan<int> shape) => TensorRules.Text(shape);
}
