using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>One array of an .npz (NumPy format 1.0 to 3.0), read front to back: bytes, integers and real numbers in C order.</summary>
public sealed partial class NpyArray : IDisposable
{
    private const int MaxHeaderBytes = 64 << 10;
    private const int MaxRank = 8;

    /// <summary>Values that are read and converted together.</summary>
    private const int Together = 64 << 10;

    private readonly string _path;
    private readonly Stream _stream;
    private readonly long[] _shape;
    private long _bytesLeft;

    /// <param name="path">The file, for errors.</param>
    /// <param name="name">The array's name.</param>
    /// <param name="stream">Its entry; disposed with the array.</param>
    /// <param name="entryLength">Bytes that the zip says the entry has.</param>
    /// <exception cref="InvalidFileException">The header is not understood.</exception>
    internal NpyArray(string path, string name, Stream stream, long entryLength)
    {
        (_path, Name, _stream) = (path, name, stream);
        var (header, headerBytes) = ReadHeader();
        Type = TypeOf(Field(header, Descr(), "descr"));
        if (Field(header, Order(), "fortran_order") != "False") throw Wrong("is in Fortran order; C order was expected");
        _shape = ShapeOf(Field(header, Extents(), "shape"));
        Count = 1;
        foreach (var extent in _shape)
        {
            if (extent != 0 && Count > (long.MaxValue >> 4) / extent) throw Wrong($"has the shape {ShapeText}, which overflows");
            Count *= extent;
        }

        _bytesLeft = Count * Type.ByteSize();
        if (entryLength - headerBytes != _bytesLeft) throw Wrong($"holds {entryLength - headerBytes} bytes; {Type} {ShapeText} takes {_bytesLeft}");
    }

    /// <summary>The name in the file.</summary>
    public string Name { get; }

    /// <summary>U8, I32, I64, F16, F32 or F64.</summary>
    public ElementType Type { get; }

    /// <summary>Extents, slowest first.</summary>
    public ReadOnlySpan<long> Shape => _shape;

    /// <summary>Number of elements.</summary>
    public long Count { get; }

    /// <summary>The shape as people write it.</summary>
    public string ShapeText => TensorRules.Text<long>(_shape);

    /// <summary>Checks the extents.</summary>
    /// <param name="shape">Expected extents; null accepts any from 1.</param>
    /// <exception cref="InvalidFileException">The array has another shape.</exception>
    public void CheckShape(params ReadOnlySpan<long?> shape)
    {
        var fits = shape.Length == _shape.Length;
        for (var i = 0; fits && i < _shape.Length; i++) fits = shape[i] is { } extent ? _shape[i] == extent : _shape[i] > 0;
        if (!fits) throw Wrong($"has the shape {ShapeText}; [{string.Join(",", shape.ToArray().Select(e => e?.ToString(CultureInfo.InvariantCulture) ?? "n"))}] was expected");
    }

    /// <summary>Reads the next bytes of the elements as they are stored.</summary>
    /// <exception cref="InvalidFileException">The data end too early or are damaged.</exception>
    public void Read(Span<byte> destination)
    {
        if (destination.Length > _bytesLeft) throw new ArgumentException($"{destination.Length} bytes asked for, {_bytesLeft} are left", nameof(destination));
        var read = ReadUpTo(destination);
        if (read < destination.Length) throw Wrong("is truncated");
        _bytesLeft -= read;
    }

    /// <summary>Reads all elements that are left as double precision.</summary>
    /// <exception cref="InvalidFileException">The data end too early, are damaged, or hold a value that is not finite.</exception>
    public double[] ReadNumbers()
    {
        var values = new List<double>();
        while (_bytesLeft > 0)
        {
            if (values.Count + (long)Together > Array.MaxLength) throw Wrong($"has the shape {ShapeText}, which is too large");
            ReadNumbers(Math.Min(Together, _bytesLeft / Type.ByteSize()), (_, value) => values.Add(value));
        }

        return [.. values];
    }

    /// <summary>Reads the next elements as numbers, and hands each over with its index in the array.</summary>
    /// <exception cref="InvalidFileException">The data end too early, are damaged, or hold a value that is not finite.</exception>
    public void ReadNumbers(long count, Action<long, double> take)
    {
        var size = Type.ByteSize();
        var buffer = new byte[Math.Min(count, Together) * size];
        for (var end = Count - _bytesLeft / size + count; count > 0;)
        {
            var bytes = buffer.AsSpan(0, (int)Math.Min(buffer.Length, count * size));
            Read(bytes);
            for (var at = 0; at < bytes.Length; at += size, count--)
            {
                var value = Convert(bytes[at..]);
                if (!double.IsFinite(value)) throw Wrong($"holds {value} at element {end - count}; finite numbers were expected");
                take(end - count, value);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    private double Convert(ReadOnlySpan<byte> bytes) => Type switch
    {
        ElementType.F64 => BinaryPrimitives.ReadDoubleLittleEndian(bytes),
        ElementType.F32 => BinaryPrimitives.ReadSingleLittleEndian(bytes),
        ElementType.F16 => (double)BinaryPrimitives.ReadHalfLittleEndian(bytes),
        ElementType.I64 => BinaryPrimitives.ReadInt64LittleEndian(bytes),
        ElementType.I32 => BinaryPrimitives.ReadInt32LittleEndian(bytes),
        _ => bytes[0],
    };

    private (string Text, int ByteCount) ReadHeader()
    {
        Span<byte> start = stackalloc byte[12];
        if (ReadUpTo(start[..10]) < 10 || start[0] != 0x93 || !start[1..6].SequenceEqual("NUMPY"u8)) throw Wrong("is no NumPy array");
        int version = start[6], lengthBytes = version == 1 ? 2 : 4;
        if (version is < 1 or > 3) throw Wrong($"is of NumPy format {version}; 1 to 3 were expected");
        if (lengthBytes == 4 && ReadUpTo(start[10..]) < 2) throw Wrong("is truncated");
        var length = lengthBytes == 2 ? BinaryPrimitives.ReadUInt16LittleEndian(start[8..]) : BinaryPrimitives.ReadUInt32LittleEndian(start[8..]);
        if (length > MaxHeaderBytes) throw Wrong($"has a header of {length} bytes; at most {MaxHeaderBytes} are read");
        var header = new byte[length];
        if (ReadUpTo(header) < header.Length) throw Wrong("is truncated");
        return (Encoding.Latin1.GetString(header), 8 + lengthBytes + header.Length);
    }

    private int ReadUpTo(Span<byte> destination)
    {
        try
        {
            return _stream.ReadAtLeast(destination, destination.Length, throwOnEndOfStream: false);
        }
        catch (Exception e) when (NpzFailure.IsOfContent(e))
        {
            throw Wrong($"is damaged ({TensorRules.Printable(e.Message)})", e);
        }
    }

    private string Field(string header, Regex pattern, string name)
    {
        var match = pattern.Match(header);
        return match.Success ? match.Groups[1].Value : throw Wrong($"has a header without {name}: {TensorRules.Printable(header.Trim())}");
    }

    private ElementType TypeOf(string descr) => descr switch
    {
        "|u1" or "<u1" => ElementType.U8,
        "<i4" => ElementType.I32,
        "<i8" => ElementType.I64,
        "<f2" => ElementType.F16,
        "<f4" => ElementType.F32,
        "<f8" => ElementType.F64,
        _ => throw Wrong($"holds elements '{TensorRules.Printable(descr)}'; u1, i4, i8, f2, f4 or f8, little-endian, were expected"),
    };

    private long[] ShapeOf(string text)
    {
        var words = text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        if (words.Length > MaxRank) throw Wrong($"has {words.Length} dimensions; at most {MaxRank} are read");
        var shape = new long[words.Length];
        for (var i = 0; i < words.Length; i++)
            if (!long.TryParse(words[i], NumberStyles.None, CultureInfo.InvariantCulture, out shape[i])) throw Wrong($"has the shape ({TensorRules.Printable(text)}), which is not one");
        return shape;
    }

    private InvalidFileException Wrong(string problem, Exception? inner = null) => new(_path, $"the array {Name} {problem}", inner);

    [GeneratedRegex("'descr'\\s*:\\s*'([^']*)'")]
    private static partial Regex Descr();

    [GeneratedRegex("'fortran_order'\\s*:\\s*(True|False)")]
    private static partial Regex Order();

    [GeneratedRegex("'shape'\\s*:\\s*\\(([^)]*)\\)")]
    private static partial Regex Extents();
}
