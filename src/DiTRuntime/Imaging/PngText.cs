using System.IO.Compression;
using System.Text;

namespace DiTRuntime.Imaging;

/// <summary>Collects the texts of a PNG file: tEXt, zTXt and iTXt chunks (PNG section 11.3.3).</summary>
/// <remarks>
/// At most 1,024 texts and 4 MB of them together, compressed or not; a file with more is refused. Chunks that break the
/// rules of their type are refused too, chunks of other types are not texts.
/// </remarks>
internal sealed class PngText(string path)
{
    private const int MaxEntries = 1024;
    private const int MaxTotalLength = 4 << 20;

    private readonly Dictionary<string, string> _entries = [];
    private int _count;
    private int _remaining = MaxTotalLength;

    /// <summary>Texts by keyword.</summary>
    public IReadOnlyDictionary<string, string> Entries => _entries;

    /// <summary>Adds the text of a chunk, if it is one.</summary>
    /// <exception cref="InvalidFileException">The chunk breaks the rules of its type, or the texts are too many or too long.</exception>
    public void TryAdd(uint type, ReadOnlySpan<byte> chunk)
    {
        if (type == PngFormat.Type("tEXt"u8))
        {
            var keyword = CutText(ref chunk);
            Add(keyword, Encoding.Latin1, chunk);
        }
        else if (type == PngFormat.Type("zTXt"u8))
        {
            var keyword = CutText(ref chunk);
            AddCompressed(keyword, Encoding.Latin1, CutByte(ref chunk), chunk);
        }
        else if (type == PngFormat.Type("iTXt"u8))
        {
            var keyword = CutText(ref chunk);
            var isCompressed = CutByte(ref chunk) != 0;
            var method = CutByte(ref chunk);
            SkipText(ref chunk); // language
            SkipText(ref chunk); // translated keyword
            if (isCompressed) AddCompressed(keyword, Encoding.UTF8, method, chunk);
            else Add(keyword, Encoding.UTF8, chunk);
        }
    }

    private void Add(string keyword, Encoding encoding, ReadOnlySpan<byte> text)
    {
        Charge(text.Length);
        if (++_count > MaxEntries) throw new InvalidFileException(path, $"more than {MaxEntries:N0} texts");
        _entries.TryAdd(keyword, encoding.GetString(text));
    }

    private unsafe void AddCompressed(string keyword, Encoding encoding, byte method, ReadOnlySpan<byte> compressed)
    {
        if (method != 0) throw Damaged($"text \"{keyword}\" claims compression method {method}");
        using var text = new MemoryStream();
        try
        {
            fixed (byte* start = compressed)
            {
                using var source = new UnmanagedMemoryStream(start, compressed.Length);
                using var zlib = new ZLibStream(source, CompressionMode.Decompress);
                Span<byte> piece = stackalloc byte[4096];
                for (int count; (count = zlib.Read(piece)) > 0 && text.Length <= _remaining;) text.Write(piece[..count]);
            }
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            throw new InvalidFileException(path, $"damaged PNG: text \"{keyword}\" does not decompress", e);
        }

        Add(keyword, encoding, text.GetBuffer().AsSpan(0, (int)text.Length));
    }

    // Keywords are at most 79 bytes; the bound also keeps one out of a chunk that holds nothing else.
    private string CutText(ref ReadOnlySpan<byte> chunk)
    {
        var end = chunk[..Math.Min(chunk.Length, 80)].IndexOf((byte)0);
        if (end < 1) throw Damaged("a text has no keyword");
        var keyword = Encoding.Latin1.GetString(chunk[..end]);
        chunk = chunk[(end + 1)..];
        return keyword;
    }

    private void SkipText(ref ReadOnlySpan<byte> chunk)
    {
        var end = chunk.IndexOf((byte)0);
        if (end < 0) throw Damaged("a text ends early");
        chunk = chunk[(end + 1)..];
    }

    private byte CutByte(ref ReadOnlySpan<byte> chunk)
    {
        if (chunk.IsEmpty) throw Damaged("a text ends early");
        var value = chunk[0];
        chunk = chunk[1..];
        return value;
    }

    private void Charge(int length)
    {
        if (length > _remaining) throw new InvalidFileException(path, $"more than {MaxTotalLength >> 20} MB of texts");
        _remaining -= length;
    }

    private InvalidFileException Damaged(string problem) => new(path, $"damaged PNG: {problem}");
}
