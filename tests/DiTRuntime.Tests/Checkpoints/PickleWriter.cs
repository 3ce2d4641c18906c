using System.Buffers.Binary;
using System.Text;

namespace DiTRuntime.Tests.Checkpoints;

/// <summary>Writes pickles of protocol 2, opcode by opcode, also such as no honest program writes.</summary>
internal sealed class PickleWriter
{
    private readonly List<byte> _output = [];

    public PickleWriter() => Op(0x80).Op(2);

    public byte[] ToArray() => [.. _output, (byte)'.'];

    public PickleWriter Op(params ReadOnlySpan<byte> code)
    {
        _output.AddRange(code);
        return this;
    }

    public PickleWriter Op(char code) => Op((byte)code);

    public PickleWriter Text(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        return Op('X').UInt32((uint)bytes.Length).Op(bytes);
    }

    public PickleWriter Global(string module, string name) => Op('c').Op(Encoding.UTF8.GetBytes($"{module}\n{name}\n"));

    /// <summary>BININT1 where it fits, else LONG1, which holds any size.</summary>
    public PickleWriter Number(long value)
    {
        if (value is >= 0 and < 256) return Op('K').Op((byte)value);
        var bytes = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
        return Op(0x8a).Op(sizeof(long)).Op(bytes);
    }

    public PickleWriter Tuple(params long[] values)
    {
        Op('(');
        foreach (var value in values) Number(value);
        return Op('t');
    }

    /// <summary>The reference to a storage: ("storage", type, key, "cpu", count) as a persistent id.</summary>
    public PickleWriter Storage(string type, string key, long count) =>
        Op('(').Text("storage").Global("torch", type).Text(key).Text("cpu").Number(count).Op('t').Op('Q');

    /// <summary>_rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict()).</summary>
    public PickleWriter Tensor(string type, string key, long count, long offset, long[] shape, long[] strides) =>
        Global("torch._utils", "_rebuild_tensor_v2").Op('(').Storage(type, key, count).Number(offset).Tuple(shape).Tuple(strides)
            .Op(0x89).OrderedDictionary().Op('t').Op('R');

    public PickleWriter OrderedDictionary() => Global("collections", "OrderedDict").Op(')').Op('R');

    /// <summary>A dictionary of one key; what the action writes is the value.</summary>
    public PickleWriter Dictionary(params (string Key, Action<PickleWriter> Value)[] items)
    {
        Op('}').Op('(');
        foreach (var (key, value) in items)
        {
            Text(key);
            value(this);
        }

        return Op('u');
    }

    private PickleWriter UInt32(uint value)
    {
        var bytes = new byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        return Op(bytes);
    }
}
