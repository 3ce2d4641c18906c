using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using DiTRuntime.Serving.KServe;

namespace DiTRuntime.Tests.Serving.KServe;

/// <summary>Bodies of infer requests, written with single quotes.</summary>
internal static class InferBodies
{
    /// <summary>The input that every request needs.</summary>
    public const string Labels = "{'name':'class_labels','datatype':'INT32','shape':[1],'data':[3]}";

    /// <summary>Bytes of a text with single quotes for double ones.</summary>
    public static byte[] Json(string text) => Encoding.UTF8.GetBytes(text.Replace('\'', '"'));

    /// <summary>Reads a body of JSON alone.</summary>
    public static InferRequest Read(string json) => InferRequestReader.Read(Json(json), null);

    /// <summary>Reads a body of JSON with tensors behind it.</summary>
    public static InferRequest Read(string json, byte[] binary)
    {
        var head = Json(json);
        return InferRequestReader.Read((byte[])[.. head, .. binary], head.Length.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>A request of one input.</summary>
    public static string WithInput(string input) => "{'inputs':[" + input + "]}";

    /// <summary>Little-endian INT32 elements.</summary>
    public static byte[] Int32(params int[] values)
    {
        var bytes = new byte[values.Length * sizeof(int)];
        for (var i = 0; i < values.Length; i++) BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(i * sizeof(int)), values[i]);
        return bytes;
    }

    /// <summary>Little-endian FP32 elements.</summary>
    public static byte[] Fp32(params float[] values) => Int32(Array.ConvertAll(values, BitConverter.SingleToInt32Bits));
}
