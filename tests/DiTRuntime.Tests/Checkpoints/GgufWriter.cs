using System.Text;

namespace DiTRuntime.Tests.Checkpoints;

/// <summary>Writes GGUF version 3, also wrong ones.</summary>
internal sealed class GgufWriter
{
    private readonly List<(string Key, Action<BinaryWriter> Value)> _facts = [];
    private readonly List<(string Name, long[] Shape, uint Type, byte[] Bytes)> _tensors = [];

    public uint Version { get; init; } = 3;

    public ulong? TensorCount { get; init; }

    public ulong? FactCount { get; init; }

    public long OffsetError { get; init; }

    public GgufWriter Fact(string key, string value) => Fact(key, 8, w => Text(w, value));

    public GgufWriter Fact(string key, uint type, Action<BinaryWriter> value)
    {
        _facts.Add((key, writer =>
        {
            writer.Write(type);
            value(writer);
        }));
        return this;
    }

    /// <param name="name">The tensor's name.</param>
    /// <param name="shape">Slowest dimension first, as in PyTorch.</param>
    /// <param name="type">GGUF's number.</param>
    /// <param name="bytes">The elements.</param>
    public GgufWriter Tensor(string name, long[] shape, uint type, byte[] bytes)
    {
        _tensors.Add((name, shape, type, bytes));
        return this;
    }

    public byte[] ToArray(int alignment = 32)
    {
        using var output = new MemoryStream();
        using var writer = new BinaryWriter(output);
        writer.Write("GGUF"u8);
        writer.Write(Version);
        writer.Write(TensorCount ?? (ulong)_tensors.Count);
        writer.Write(FactCount ?? (ulong)_facts.Count);
        foreach (var (key, value) in _facts)
        {
            Text(writer, key);
            value(writer);
        }

        var offset = 0L;
        foreach (var (name, shape, type, bytes) in _tensors)
        {
            Text(writer, name);
            writer.Write(shape.Length);
            foreach (var extent in shape.Reverse()) writer.Write(extent);
            writer.Write(type);
            writer.Write(offset == 0 ? 0 : offset + OffsetError);
            offset += Padded(bytes.Length, alignment);
        }

        foreach (var (_, _, _, bytes) in _tensors)
        {
            writer.Write(new byte[Padded(output.Length, alignment) - output.Length]);
            writer.Write(bytes);
        }

        return output.ToArray();
    }

    public static void Text(BinaryWriter writer, string text)
    {
        writer.Write((long)Encoding.UTF8.GetByteCount(text));
        writer.Write(Encoding.UTF8.GetBytes(text));
    }

    private static long Padded(long length, int alignment) => (length + alignment - 1) / alignment * alignment;
}
