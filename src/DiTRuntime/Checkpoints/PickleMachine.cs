using System.Buffers.Binary;
using System.Numerics;
using System.Text;

namespace DiTRuntime.Checkpoints;

/// <summary>
/// Runs the pickle (protocol 2) that describes a checkpoint's tensors, as data: an allow-list of opcodes, globals that are only
/// names, no recursion, and a bound on what it may build. It never calls anything.
/// </summary>
internal sealed class PickleMachine
{
    /// <summary>Managed bytes that a pickle may cause, estimated; a training checkpoint of DiT-XL/2 with its optimizer needs 12 MB.</summary>
    private const int Budget = 40 << 20;

    private const int HighestProtocol = 2;
    private const int SlotBytes = 16;
    private const int ObjectBytes = 48;
    private const int MemoBytes = 64;

    private readonly string _path;
    private readonly List<object?> _stack = [];
    private readonly List<int> _marks = [];
    private readonly Dictionary<uint, object?> _memo = [];
    private long _spent;

    private PickleMachine(string path) => _path = path;

    /// <summary>Runs a pickle and returns the object it describes.</summary>
    /// <param name="file">The file.</param>
    /// <param name="offset">Where the pickle begins.</param>
    /// <param name="length">Its bytes.</param>
    /// <exception cref="InvalidFileException">The pickle is damaged, uses an opcode or a global that no checkpoint needs, or builds too much.</exception>
    public static object? Run(MappedFile file, long offset, long length) =>
        new PickleMachine(file.Path).Run(new ByteCursor(file, offset, offset + length, "the pickle"));

    private object? Run(ByteCursor input)
    {
        while (true)
        {
            var at = input.Position;
            var code = input.Byte();
            if (code == '.') return Pop();
            if (!Push(code, ref input) && !Memo(code, ref input) && !Combine(code))
                throw Wrong($"the pickle holds the opcode 0x{code:x2} at offset {at}, which no checkpoint needs");
        }
    }

    /// <summary>Opcodes that push a new value.</summary>
    private bool Push(byte code, ref ByteCursor input)
    {
        switch (code)
        {
            case 0x80:
                var protocol = input.Byte();
                if (protocol > HighestProtocol)
                    throw Wrong($"the pickle has protocol {protocol}; checkpoints are written with {HighestProtocol}");
                return true;
            case (byte)'N': return Push(null, 0);
            case 0x88: return Push(true, ObjectBytes);
            case 0x89: return Push(false, ObjectBytes);
            case (byte)'K': return Push((long)input.Byte(), ObjectBytes);
            case (byte)'M': return Push((long)input.UInt16(), ObjectBytes);
            case (byte)'J': return Push((long)(int)input.UInt32(), ObjectBytes);
            case 0x8a: return Push(Long(input.Bytes(input.Byte())), ObjectBytes);
            case (byte)'G': return Push(BinaryPrimitives.ReadDoubleBigEndian(input.Bytes(sizeof(double))), ObjectBytes);
            case (byte)'X': return PushText(ref input, input.UInt32());
            case (byte)'T': return PushText(ref input, input.UInt32());
            case (byte)'U': return PushText(ref input, input.Byte());
            case (byte)'}': return Push(new PickleDictionary(), ObjectBytes);
            case (byte)']': return Push(new List<object?>(), ObjectBytes);
            case (byte)')': return Push(Array.Empty<object?>(), 0);
            case (byte)'(':
                Spend(SlotBytes);
                _marks.Add(_stack.Count);
                return true;
            case (byte)'c':
                var module = Line(ref input);
                return Push(PickleGlobals.Check(_path, new PickleGlobal(module, Line(ref input))), ObjectBytes);
            default: return false;
        }
    }

    /// <summary>Opcodes that store in the memo or fetch from it.</summary>
    private bool Memo(byte code, ref ByteCursor input)
    {
        switch (code)
        {
            case (byte)'q':
                Store(input.Byte());
                return true;
            case (byte)'r':
                Store(input.UInt32());
                return true;
            case (byte)'h': return Fetch(input.Byte());
            case (byte)'j': return Fetch(input.UInt32());
            default: return false;
        }
    }

    /// <summary>Opcodes that make something of what is on the stack.</summary>
    private bool Combine(byte code)
    {
        switch (code)
        {
            case (byte)'t': return PushTuple(PopMark());
            case >= 0x85 and <= 0x87: return PushTuple(Take(code - 0x84));
            case (byte)'Q': return Push(PickleGlobals.Storage(_path, Pop()), ObjectBytes);
            case (byte)'R' or 0x81:
                var arguments = Pop() as object?[] ?? throw Wrong("the pickle applies a global to something other than a tuple");
                return Push(Apply(Pop(), arguments), 2 * ObjectBytes + SlotBytes * arguments.Length);
            case (byte)'b':
                // The state of an object (a state dict's _metadata, a Namespace's fields) describes no tensor.
                Pop();
                return Push(Pop(), 0);
            case (byte)'s': return SetItems(Take(2));
            case (byte)'u': return SetItems(PopMark());
            case (byte)'a': return Append(Take(1));
            case (byte)'e': return Append(PopMark());
            default: return false;
        }
    }

    private object? Apply(object? callee, object?[] arguments) => callee switch
    {
        PickleGlobal global => PickleGlobals.Apply(_path, global, arguments),
        PickleOpaque => callee,
        _ => throw Wrong("the pickle applies something that is not a global"),
    };

    private bool SetItems(object?[] items)
    {
        if (items.Length % 2 != 0) throw Wrong("the pickle sets a key without a value");
        if (Peek() is PickleDictionary dictionary)
        {
            for (var i = 0; i < items.Length; i += 2) dictionary.Add(items[i], items[i + 1]);
            Spend(2 * SlotBytes * items.Length);
        }
        else if (Peek() is not PickleOpaque)
        {
            throw Wrong("the pickle sets items of something that is not a dict");
        }

        return true;
    }

    private bool Append(object?[] items)
    {
        if (Peek() is List<object?> list)
        {
            list.AddRange(items);
            Spend(2 * SlotBytes * items.Length);
        }
        else if (Peek() is not PickleOpaque)
        {
            throw Wrong("the pickle appends to something that is not a list");
        }

        return true;
    }

    private bool PushTuple(object?[] items) => Push(items, ObjectBytes);

    private bool PushText(ref ByteCursor input, uint byteCount)
    {
        if (byteCount > input.Remaining) throw Wrong($"truncated or damaged: the pickle holds a text of {byteCount} bytes, {input.Remaining} are left");
        Spend(2L * byteCount);
        return Push(input.Text(byteCount), ObjectBytes);
    }

    private bool Push(object? value, int cost)
    {
        Spend(SlotBytes + cost);
        _stack.Add(value);
        return true;
    }

    private string Line(ref ByteCursor input)
    {
        var line = input.Line();
        if (line.Length > TensorRules.MaxNameLength) throw Wrong($"the pickle names a global by {line.Length} bytes");
        Spend(ObjectBytes + 2 * line.Length);
        return Encoding.UTF8.GetString(line);
    }

    private void Store(uint index)
    {
        Spend(MemoBytes);
        _memo[index] = Peek();
    }

    private bool Fetch(uint index) =>
        _memo.TryGetValue(index, out var value) ? Push(value, 0) : throw Wrong($"the pickle fetches entry {index}, which it never stored");

    private object? Peek() => _stack.Count > Floor ? _stack[^1] : throw Underflow();

    private object? Pop()
    {
        var value = Peek();
        _stack.RemoveAt(_stack.Count - 1);
        return value;
    }

    /// <summary>Removes the topmost values, which must lie above the last mark.</summary>
    private object?[] Take(int count)
    {
        if (_stack.Count - Floor < count) throw Underflow();
        Spend(ObjectBytes + 8 * count);
        var values = new object?[count];
        _stack.CopyTo(_stack.Count - count, values, 0, count);
        _stack.RemoveRange(_stack.Count - count, count);
        return values;
    }

    private object?[] PopMark()
    {
        if (_marks.Count == 0) throw Underflow();
        var values = Take(_stack.Count - Floor);
        _marks.RemoveAt(_marks.Count - 1);
        return values;
    }

    private int Floor => _marks.Count == 0 ? 0 : _marks[^1];

    private static object Long(ReadOnlySpan<byte> bytes) => bytes.Length <= sizeof(long)
        ? (long)new BigInteger(bytes)
        : PickleOpaque.Instance;

    private void Spend(long bytes)
    {
        _spent += bytes;
        if (_spent > Budget) throw Wrong($"the pickle builds more than {Budget >> 20} MiB of objects; a checkpoint's is far smaller");
    }

    private InvalidFileException Underflow() => Wrong("the pickle is damaged: it takes more from the stack than it put there");

    private InvalidFileException Wrong(string problem) => new(_path, problem);
}
