using System.Buffers.Binary;
using System.IO.Compression;

namespace DiTRuntime.Imaging;

/// <summary>What a PNG file says about itself.</summary>
/// <param name="Width">Columns.</param>
/// <param name="Height">Rows.</param>
/// <param name="BitDepth">Bits per sample: 1, 2, 4, 8 or 16.</param>
/// <param name="Colour">Kind of pixel, in words: "grey", "RGB", "palette", "grey with alpha", "RGB with alpha".</param>
/// <param name="Text">Texts by keyword; the first wins where a keyword repeats.</param>
public sealed record PngDescription(int Width, int Height, int BitDepth, string Colour, IReadOnlyDictionary<string, string> Text);

/// <summary>Reads PNG files: their description and texts, and the pixels of plain 8-bit ones.</summary>
/// <remarks>
/// Every chunk's length and check sum is verified before its data is looked at. Memory stays within the file's size plus
/// 64 MB: texts are bounded (<see cref="PngText"/>), and pixels beyond <see cref="MaxPixelBytes"/> are refused.
/// </remarks>
public static class PngReader
{
    /// <summary>Decoded bytes of the largest image <see cref="ReadPixels"/> takes.</summary>
    public const int MaxPixelBytes = 32 << 20;

    private const int HeaderLength = 13;
    private const int InterlaceOffset = 8 + 8 + HeaderLength - 1;

    // Behind the signature and the header's chunk.
    private const int ImageDataOffset = 8 + PngFormat.ChunkOverhead + HeaderLength;
    private const long MaxFileLength = 1L << 30;

    /// <summary>Whether a file begins as PNG files do; false also where there is none.</summary>
    public static bool IsPng(string path)
    {
        Span<byte> start = stackalloc byte[PngFormat.Signature.Length];
        try
        {
            using var stream = File.OpenRead(path);
            return stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false) == start.Length && start.SequenceEqual(PngFormat.Signature);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Reads the description and the texts.</summary>
    /// <exception cref="InvalidFileException">The file is missing, not PNG, or damaged.</exception>
    public static PngDescription ReadDescription(string path) => Parse(path, Load(path), out _);

    /// <summary>Decodes the pixels of an 8-bit grey or RGB file; an alpha channel is dropped.</summary>
    /// <exception cref="InvalidFileException">The file is missing, not PNG, damaged, of another kind, or too large.</exception>
    public static Image ReadPixels(string path)
    {
        var file = Load(path);
        var description = Parse(path, file, out var imageDataLength);
        var (samples, channels) = (description.BitDepth, description.Colour) switch
        {
            (8, "grey") => (1, 1),
            (8, "grey with alpha") => (2, 1),
            (8, "RGB") => (3, 3),
            (8, "RGB with alpha") => (4, 3),
            _ => throw new InvalidFileException(path, $"{description.BitDepth}-bit {description.Colour}: only the pixels of 8-bit grey and RGB are read"),
        };
        if (file[InterlaceOffset] != 0) throw new InvalidFileException(path, "interlaced: only the pixels of plain PNG are read");
        if ((long)description.Width * description.Height * samples > MaxPixelBytes)
            throw new InvalidFileException(path, $"{description.Width}x{description.Height} pixels: only images of up to {MaxPixelBytes >> 20} MB are read");
        using var imageData = new MemoryStream(file, ImageDataOffset, imageDataLength);
        return Decode(path, imageData, description.Width, description.Height, samples, channels);
    }

    private static byte[] Load(string path)
    {
        try
        {
            using var stream = File.OpenRead(path);
            if (stream.Length > MaxFileLength) throw new InvalidFileException(path, $"{stream.Length:N0} bytes: too large for a PNG file");
            var file = new byte[stream.Length];
            stream.ReadExactly(file);
            return file;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new InvalidFileException(path, "no such file", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidFileException(path, $"cannot be read ({e.Message})", e);
        }
    }

    // The compressed pixels come in pieces; they are moved together within the file's own memory, behind the header.
    private static PngDescription Parse(string path, Span<byte> file, out int imageDataLength)
    {
        imageDataLength = 0;
        if (!file.StartsWith(PngFormat.Signature)) throw new InvalidFileException(path, "not a PNG file");
        PngDescription? description = null;
        var text = new PngText(path);
        for (ReadOnlySpan<byte> rest = file[PngFormat.Signature.Length..]; ;)
        {
            var chunk = Chunk(path, rest, file.Length - rest.Length, out var type);
            rest = rest[(chunk.Length + PngFormat.ChunkOverhead)..];
            if (description is null)
            {
                description = type == PngFormat.Type("IHDR"u8) ? Describe(path, chunk, text.Entries) : throw Damaged(path, "does not begin with its header");
            }
            else if (type == PngFormat.Type("IEND"u8))
            {
                return description;
            }
            else if (type == PngFormat.Type("IHDR"u8))
            {
                throw Damaged(path, "has two headers");
            }
            else if (type == PngFormat.Type("IDAT"u8))
            {
                chunk.CopyTo(file[(ImageDataOffset + imageDataLength)..]);
                imageDataLength += chunk.Length;
            }
            else
            {
                text.TryAdd(type, chunk);
            }
        }
    }

    private static ReadOnlySpan<byte> Chunk(string path, ReadOnlySpan<byte> rest, int offset, out uint type)
    {
        if (rest.Length < PngFormat.ChunkOverhead) throw Damaged(path, "ends before its end chunk");
        var length = BinaryPrimitives.ReadUInt32BigEndian(rest);
        if (length > rest.Length - PngFormat.ChunkOverhead)
            throw Damaged(path, $"the chunk at byte {offset} claims {length} bytes, {rest.Length - PngFormat.ChunkOverhead} are left");
        var data = rest.Slice(8, (int)length);
        type = PngFormat.Type(rest[4..]);
        if (PngFormat.Crc(rest.Slice(4, 4), data) != BinaryPrimitives.ReadUInt32BigEndian(rest[(8 + (int)length)..]))
            throw Damaged(path, $"the chunk at byte {offset} fails its check sum");
        return data;
    }

    private static PngDescription Describe(string path, ReadOnlySpan<byte> header, IReadOnlyDictionary<string, string> text)
    {
        if (header.Length != HeaderLength) throw Damaged(path, $"its header has {header.Length} bytes, expected {HeaderLength}");
        var width = BinaryPrimitives.ReadInt32BigEndian(header);
        var height = BinaryPrimitives.ReadInt32BigEndian(header[4..]);
        if (width <= 0 || height <= 0) throw Damaged(path, $"its header claims {width}x{height} pixels");
        var colour = header[9] switch
        {
            0 => "grey",
            2 => "RGB",
            3 => "palette",
            4 => "grey with alpha",
            6 => "RGB with alpha",
            _ => throw Damaged(path, $"its header claims colour type {header[9]}"),
        };
        if (header[8] is not (1 or 2 or 4 or 8 or 16)) throw Damaged(path, $"its header claims {header[8]} bits per sample");
        return new PngDescription(width, height, header[8], colour, text);
    }

    private static Image Decode(string path, Stream imageData, int width, int height, int samples, int channels)
    {
        var pixels = new byte[width * height * channels];
        var row = new byte[1 + width * samples];
        var above = new byte[row.Length];
        try
        {
            using var zlib = new ZLibStream(imageData, CompressionMode.Decompress);
            for (var y = 0; y < height; y++)
            {
                zlib.ReadExactly(row);
                if (!TryUnfilter(row, above, samples)) throw Damaged(path, $"row {y} claims filter {row[0]}");
                for (var x = 0; x < width; x++)
                    row.AsSpan(1 + x * samples, channels).CopyTo(pixels.AsSpan((y * width + x) * channels));
                (row, above) = (above, row);
            }
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            throw Damaged(path, "its pixels do not decompress", e);
        }

        return new Image(width, height, channels, pixels);
    }

    // Both rows begin with their filter byte.
    private static bool TryUnfilter(Span<byte> row, ReadOnlySpan<byte> above, int pixelLength)
    {
        var filter = (PngFormat.Filter)row[0];
        if (filter > PngFormat.Filter.Paeth) return false;
        for (var i = 1; i < row.Length; i++)
        {
            byte left = 0, upperLeft = 0;
            if (i > pixelLength) (left, upperLeft) = (row[i - pixelLength], above[i - pixelLength]);
            row[i] += filter switch
            {
                PngFormat.Filter.None => 0,
                PngFormat.Filter.Sub => left,
                PngFormat.Filter.Up => above[i],
                PngFormat.Filter.Average => (byte)((left + above[i]) / 2),
                _ => PngFormat.Paeth(left, above[i], upperLeft),
            };
        }

        return true;
    }

    private static InvalidFileException Damaged(string path, string problem, Exception? cause = null) => new(path, $"damaged PNG: {problem}", cause);
}
