using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace DiTRuntime.Imaging;

/// <summary>Writes PNG on the platform's zlib: 8-bit grey and RGB, each row with the filter that suits it.</summary>
public sealed class PngCodec : IImageCodec
{
    private const int FilterCount = 5;

    // "keyword, at most 79 bytes of Latin-1" (PNG section 11.3.3.1).
    private const int MaxKeywordLength = 79;

    /// <inheritdoc/>
    public IReadOnlyList<string> Extensions { get; } = [".png"];

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">A keyword is empty, longer than 79 characters, or not printable Latin-1.</exception>
    public void Encode(Image image, IReadOnlyDictionary<string, string>? text, string extension, Stream output)
    {
        output.Write(PngFormat.Signature);
        Span<byte> header = stackalloc byte[13];
        header.Clear();
        BinaryPrimitives.WriteInt32BigEndian(header, image.Width);
        BinaryPrimitives.WriteInt32BigEndian(header[4..], image.Height);
        header[8] = 8;
        header[9] = (byte)(image.Channels == 1 ? 0 : 2);
        WriteChunk(output, "IHDR"u8, header);
        foreach (var (keyword, value) in text ?? new Dictionary<string, string>()) WriteText(output, keyword, value);
        using var compressed = new MemoryStream();
        using (var zlib = new ZLibStream(compressed, CompressionLevel.Optimal, leaveOpen: true)) WriteRows(image, zlib);
        WriteChunk(output, "IDAT"u8, compressed.GetBuffer().AsSpan(0, (int)compressed.Length));
        WriteChunk(output, "IEND"u8, []);
    }

    private static void WriteRows(Image image, Stream zlib)
    {
        var rowLength = image.Width * image.Channels;
        var candidates = new byte[FilterCount][];
        for (var f = 0; f < FilterCount; f++)
        {
            candidates[f] = new byte[1 + rowLength];
            candidates[f][0] = (byte)f;
        }

        ReadOnlySpan<byte> above = new byte[rowLength];
        for (var y = 0; y < image.Height; y++)
        {
            var row = image.Row(y);
            zlib.Write(candidates[BestFilter(row, above, image.Channels, candidates)]);
            above = row;
        }
    }

    // The filter whose bytes, read as signed, have the least sum of magnitudes (PNG section 12.7).
    private static int BestFilter(ReadOnlySpan<byte> row, ReadOnlySpan<byte> above, int pixelLength, byte[][] candidates)
    {
        Span<long> cost = stackalloc long[FilterCount];
        cost.Clear();
        for (var i = 0; i < row.Length; i++)
        {
            var value = row[i];
            byte up = above[i], left = 0, upperLeft = 0;
            if (i >= pixelLength)
            {
                left = row[i - pixelLength];
                upperLeft = above[i - pixelLength];
            }

            Store(PngFormat.Filter.None, value, cost);
            Store(PngFormat.Filter.Sub, (byte)(value - left), cost);
            Store(PngFormat.Filter.Up, (byte)(value - up), cost);
            Store(PngFormat.Filter.Average, (byte)(value - (left + up) / 2), cost);
            Store(PngFormat.Filter.Paeth, (byte)(value - PngFormat.Paeth(left, up, upperLeft)), cost);

            void Store(PngFormat.Filter filter, byte residual, Span<long> cost)
            {
                candidates[(int)filter][1 + i] = residual;
                cost[(int)filter] += Math.Abs((int)(sbyte)residual);
            }
        }

        var best = 0;
        for (var f = 1; f < FilterCount; f++)
            if (cost[f] < cost[best]) best = f;
        return best;
    }

    private static void WriteText(Stream output, string keyword, string value)
    {
        if (keyword.Length is 0 or > MaxKeywordLength || !keyword.All(c => c is >= ' ' and <= '~' or > '\u00A0' and <= '\u00FF'))
            throw new ArgumentException($"\"{keyword}\" is no PNG keyword", nameof(keyword));
        // tEXt is Latin-1, which every reader knows; anything else needs iTXt: not compressed, no language, no translation.
        if (value.All(c => c is '\n' or >= ' ' and <= '~' or >= '\u00A0' and <= '\u00FF'))
            WriteChunk(output, "tEXt"u8, Encoding.Latin1.GetBytes($"{keyword}\0{value}"));
        else
            WriteChunk(output, "iTXt"u8, [.. Encoding.Latin1.GetBytes($"{keyword}\0\0\0\0\0"), .. Encoding.UTF8.GetBytes(value)]);
    }

    private static void WriteChunk(Stream output, ReadOnlySpan<byte> type, ReadOnlySpan<byte> data)
    {
        Span<byte> number = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(number, data.Length);
        output.Write(number);
        output.Write(type);
        output.Write(data);
        BinaryPrimitives.WriteUInt32BigEndian(number, PngFormat.Crc(type, data));
        output.Write(number);
    }
}
