using System.Buffers.Binary;
using System.Security.Cryptography;
using DiTRuntime.Imaging;

namespace DiTRuntime.Cli.Sharding;

/// <summary>
/// The images of a part that is being made: a line that describes the part, then a record for each image, in order: its index (4 bytes), the first
/// 16 bytes of the SHA-256 of index and pixels, the pixels [side, side, 3]. Whatever ends the process, records that are whole are kept and a torn one
/// behind them is cut off. One process at a time holds the file.
/// </summary>
internal sealed class PartLog : IDisposable
{
    private const int Channels = 3, IndexBytes = 4, SumBytes = 16, HeadBytes = IndexBytes + SumBytes;

    /// <summary>Records after which the disk is waited for: what a power failure can cost.</summary>
    private const int Together = 64;

    private readonly string _path;
    private readonly FileStream _file;
    private readonly int[] _images;
    private readonly int _side;
    private readonly byte[] _record;
    private readonly long _start;

    private PartLog(string path, FileStream file, int[] images, int side, long start)
    {
        (_path, _file, _images, _side, _start) = (path, file, images, side, start);
        _record = new byte[HeadBytes + side * side * Channels];
    }

    /// <summary>Images that are there: the first ones of the part.</summary>
    public int Count { get; private set; }

    /// <summary>Opens the log of a part, or begins it.</summary>
    /// <param name="path">The log.</param>
    /// <param name="part">The part.</param>
    /// <param name="images">Index of each of its images, ascending.</param>
    /// <param name="side">Side of an image in pixels.</param>
    /// <exception cref="OutputException">It is another part's, another process holds it, or it cannot be written.</exception>
    public static PartLog Open(string path, PartDescription part, int[] images, int side)
    {
        byte[] line = [.. part.ToJson(), (byte)'\n'];
        FileStream? file = null;
        try
        {
            file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 0);
            Begin(path, file, part, line);
            var log = new PartLog(path, file, images, side, line.Length);
            log.Recover();
            return log;
        }
        catch (Exception e)
        {
            file?.Dispose();
            if (e is IOException or UnauthorizedAccessException) throw Failure(path, e);
            throw;
        }
    }

    /// <summary>Appends the next image of the part.</summary>
    /// <exception cref="OutputException">It cannot be written.</exception>
    public void Append(Image image)
    {
        BinaryPrimitives.WriteInt32LittleEndian(_record, _images[Count]);
        image.ToRgb().Pixels.CopyTo(_record, HeadBytes);
        Sum(_record).CopyTo(_record.AsSpan(IndexBytes));
        try
        {
            _file.Write(_record);
            Count++;
            if (Count % Together == 0 || Count == _images.Length) _file.Flush(flushToDisk: true);
        }
        catch (IOException e)
        {
            throw Failure(_path, e);
        }
    }

    /// <summary>The images that are there, in order; each is valid until the next.</summary>
    public IEnumerable<Image> ReadAll()
    {
        _file.Position = _start;
        for (var k = 0; k < Count; k++)
        {
            if (!TryRead(k)) throw new InvalidFileException(_path, $"image {_images[k]} has been changed since it was written");
            yield return new Image(_side, _side, Channels, _record[HeadBytes..]);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    /// <summary>Writes the line that describes the part, or compares it.</summary>
    private static void Begin(string path, FileStream file, PartDescription part, byte[] line)
    {
        var found = new byte[Math.Min(file.Length, line.Length)];
        file.ReadExactly(found);
        if (found.Length < line.Length && line.AsSpan().StartsWith(found))
        {
            // New, or torn while it was begun.
            file.SetLength(0);
            file.Write(line);
            file.Flush(flushToDisk: true);
        }
        else if (!found.AsSpan().SequenceEqual(line))
        {
            throw new OutputException(path, $"the images in it are of {Other(path, file, part)}; remove it, or give another --npz");
        }
    }

    private static string Other(string path, FileStream file, PartDescription part)
    {
        const int longestLine = 64 << 10;
        file.Position = 0;
        var start = new byte[Math.Min(file.Length, longestLine)];
        file.ReadExactly(start);
        try
        {
            var other = PartDescription.Read(path, start.AsMemory(0, Math.Max(0, Array.IndexOf(start, (byte)'\n'))));
            return part.Run.DifferenceOf(other.Run) is { } difference ? $"another run ({difference})" : $"shard {other.Shard}";
        }
        catch (InvalidFileException)
        {
            return "no run that can be recognised";
        }
    }

    /// <summary>Counts the whole records and cuts off what follows.</summary>
    private void Recover()
    {
        while (Count < _images.Length && TryRead(Count)) Count++;
        var end = _start + (long)Count * _record.Length;
        if (_file.Length > end) _file.SetLength(end);
        _file.Position = end;
    }

    private bool TryRead(int k) =>
        _file.ReadAtLeast(_record, _record.Length, throwOnEndOfStream: false) == _record.Length
        && BinaryPrimitives.ReadInt32LittleEndian(_record) == _images[k]
        && Sum(_record).AsSpan().SequenceEqual(_record.AsSpan(IndexBytes, SumBytes));

    private static byte[] Sum(byte[] record)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(record, 0, IndexBytes);
        hash.AppendData(record, HeadBytes, record.Length - HeadBytes);
        return hash.GetHashAndReset()[..SumBytes];
    }

    private static OutputException Failure(string path, Exception e)
    {
        // What .NET says of a lock that another process holds (Linux: EWOULDBLOCK, Windows: a sharing violation).
        const int wouldBlock = 11, sharingViolation = unchecked((int)0x80070020);
        return e is UnauthorizedAccessException ? new OutputException(path, "cannot be written: no permission", e)
            : e.HResult is wouldBlock or sharingViolation ? new OutputException(path, "another process is making this part", e)
            : new OutputException(path, $"cannot be written ({e.Message})", e);
    }
}
