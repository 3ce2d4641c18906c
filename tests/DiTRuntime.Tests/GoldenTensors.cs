using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace DiTRuntime.Tests;

/// <summary>A safetensors reader of the tests' own: an oracle that shares no code with the product's.</summary>
internal sealed class GoldenTensors
{
    private readonly Dictionary<string, (string Type, int[] Shape, byte[] Data)> _tensors = [];

    public IEnumerable<string> Names => _tensors.Keys;

    public static GoldenTensors Load(string path)
    {
        var file = File.ReadAllBytes(path);
        var headerLength = (int)BinaryPrimitives.ReadUInt64LittleEndian(file);
        using var header = JsonDocument.Parse(file.AsMemory(8, headerLength));
        var result = new GoldenTensors();
        foreach (var entry in header.RootElement.EnumerateObject().Where(e => e.Name != "__metadata__"))
        {
            var offsets = Integers(entry.Value.GetProperty("data_offsets"));
            var shape = Integers(entry.Value.GetProperty("shape"));
            var data = file.AsSpan(8 + headerLength + offsets[0], offsets[1] - offsets[0]).ToArray();
            result._tensors.Add(entry.Name, (entry.Value.GetProperty("dtype").GetString()!, shape, data));
        }

        return result;
    }

    public int[] Shape(string name) => _tensors[name].Shape;

    /// <summary>Values of a tensor of any floating-point type.</summary>
    public float[] F32(string name)
    {
        var (type, _, data) = _tensors[name];
        return type switch
        {
            "F32" => MemoryMarshal.Cast<byte, float>(data).ToArray(),
            "F16" => Array.ConvertAll(MemoryMarshal.Cast<byte, Half>(data).ToArray(), v => (float)v),
            "F64" => Array.ConvertAll(MemoryMarshal.Cast<byte, double>(data).ToArray(), v => (float)v),
            _ => throw new NotSupportedException($"{name}: {type}"),
        };
    }

    public long[] I64(string name)
    {
        var (type, _, data) = _tensors[name];
        return type == "I64" ? MemoryMarshal.Cast<byte, long>(data).ToArray() : throw new NotSupportedException($"{name}: {type}");
    }

    private static int[] Integers(JsonElement array) => [.. array.EnumerateArray().Select(e => e.GetInt32())];
}
