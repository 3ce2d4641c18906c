using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;

namespace DiTRuntime.Tests.Cli;

/// <summary>A safetensors file as header and data, to be damaged at will; shares no code with the product.</summary>
internal sealed class RawSafetensors
{
    private RawSafetensors(JsonObject header, byte[] data)
    {
        Header = header;
        Data = data;
    }

    public JsonObject Header { get; }

    public byte[] Data { get; private set; }

    public static RawSafetensors Load(string path) => Parse(File.ReadAllBytes(path));

    public static RawSafetensors Parse(byte[] file)
    {
        var length = (int)BinaryPrimitives.ReadUInt64LittleEndian(file);
        return new RawSafetensors(JsonNode.Parse(file.AsSpan(8, length))!.AsObject(), file[(8 + length)..]);
    }

    public static RawSafetensors Empty() => new([], []);

    public RawSafetensors Add(string name, string type, int[] shape, ReadOnlySpan<byte> data)
    {
        Header[name] = new JsonObject
        {
            ["dtype"] = type,
            ["shape"] = new JsonArray([.. shape.Select(extent => (JsonNode)extent)]),
            ["data_offsets"] = new JsonArray(Data.Length, Data.Length + data.Length),
        };
        Data = [.. Data, .. data];
        return this;
    }

    public RawSafetensors Add(string name, int[] shape, params ReadOnlySpan<float> values) => Add(name, "F32", shape, MemoryMarshal.AsBytes(values));

    public RawSafetensors Add(string name, int[] shape, params ReadOnlySpan<long> values) => Add(name, "I64", shape, MemoryMarshal.AsBytes(values));

    /// <summary>Drops a tensor and closes the hole it leaves.</summary>
    public RawSafetensors Remove(string name)
    {
        var (begin, end) = Offsets(name);
        Header.Remove(name);
        Data = [.. Data[..begin], .. Data[end..]];
        foreach (var (other, entry) in Header)
        {
            if (other == "__metadata__" || Offsets(other).Begin < end) continue;
            entry!["data_offsets"] = new JsonArray(Offsets(other).Begin - (end - begin), Offsets(other).End - (end - begin));
        }

        return this;
    }

    /// <summary>A metadata text.</summary>
    public string Metadata(string key) => (string)Header["__metadata__"]![key]!;

    /// <summary>Replaces a metadata text, or drops it.</summary>
    public RawSafetensors Metadata(string key, string? text)
    {
        if (text is null) Header["__metadata__"]!.AsObject().Remove(key);
        else Header["__metadata__"]![key] = text;
        return this;
    }

    /// <summary>Overwrites bytes of a tensor from its first on.</summary>
    public RawSafetensors Poke(string name, params ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(Data.AsSpan(Offsets(name).Begin));
        return this;
    }

    /// <summary>Overwrites the first element of an F32 tensor.</summary>
    public RawSafetensors Poke(string name, float value)
    {
        BinaryPrimitives.WriteSingleLittleEndian(Data.AsSpan(Offsets(name).Begin), value);
        return this;
    }

    public byte[] ToArray()
    {
        var header = Encoding.UTF8.GetBytes(Header.ToJsonString());
        var length = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)header.Length);
        return [.. length, .. header, .. Data];
    }

    public string Save(string path)
    {
        File.WriteAllBytes(path, ToArray());
        return path;
    }

    private (int Begin, int End) Offsets(string name)
    {
        var offsets = Header[name]!["data_offsets"]!.AsArray();
        return ((int)offsets[0]!, (int)offsets[1]!);
    }
}
