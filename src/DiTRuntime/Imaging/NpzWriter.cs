using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace DiTRuntime.Imaging;

/// <summary>Writes the sample file of the ADM evaluation: `arr_0`, uint8 [N, height, width, 3], uncompressed.</summary>
/// <remarks>
/// Images are written as they come, so memory does not grow with their number. The evaluation wants three channels: grey
/// images are repeated in each. The file is a zip with the entry `arr_0.npy` (NumPy format 1.0); others may follow it.
/// </remarks>
public sealed class NpzWriter : IDisposable
{
    private const int Channels = 3;

    // NumPy begins the data at a multiple of this.
    private const int HeaderAlignment = 64;

    private readonly ZipArchive _archive;
    private Stream _entry;
    private readonly int _count;
    private readonly int _height;
    private readonly int _width;
    private readonly byte[] _row;
    private int _written;

    /// <param name="output">Receives the file; stays open.</param>
    /// <param name="count">N: number of images that will be added.</param>
    /// <param name="height">Rows of each image.</param>
    /// <param name="width">Columns of each image.</param>
    public NpzWriter(Stream output, int count, int height, int width)
    {
        (_count, _height, _width) = (count, height, width);
        _row = new byte[width * Channels];
        _archive = new ZipArchive(output, ZipArchiveMode.Create, leaveOpen: true);
        _entry = Begin("arr_0.npy");
        _entry.Write(Header("|u1", $"({count}, {height}, {width}, {Channels})"));
    }

    /// <summary>Appends an image.</summary>
    /// <exception cref="ArgumentException">The image has another size than the file's.</exception>
    /// <exception cref="InvalidOperationException">All N images have been added already.</exception>
    public void Add(Image image)
    {
        if (image.Width != _width || image.Height != _height)
            throw new ArgumentException($"{image.Width}x{image.Height} pixels in a file of {_width}x{_height}", nameof(image));
        if (_written == _count) throw new InvalidOperationException($"all {_count} images are written");
        _written++;
        if (image.Channels == Channels)
        {
            _entry.Write(image.Pixels);
            return;
        }

        for (var y = 0; y < _height; y++)
        {
            var grey = image.Row(y);
            for (var i = 0; i < _row.Length; i++) _row[i] = grey[i / Channels];
            _entry.Write(_row);
        }
    }

    /// <summary>Adds an array of whole numbers, int64 [n], behind the images.</summary>
    /// <exception cref="InvalidOperationException">Fewer than N images were added.</exception>
    public void AddArray(string name, ReadOnlySpan<long> values)
    {
        Next($"{name}.npy");
        _entry.Write(Header("<i8", $"({values.Length},)"));
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        foreach (var value in values)
        {
            BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
            _entry.Write(bytes);
        }
    }

    /// <summary>Adds a member that is no array, behind the images.</summary>
    /// <exception cref="InvalidOperationException">Fewer than N images were added.</exception>
    public void AddFile(string name, ReadOnlySpan<byte> content)
    {
        Next(name);
        _entry.Write(content);
    }

    /// <summary>Ends the file.</summary>
    /// <exception cref="InvalidOperationException">Fewer than N images were added.</exception>
    public void Complete()
    {
        CheckImages();
        Dispose();
    }

    /// <summary>Closes the zip; without <see cref="Complete"/> the file is not to be kept.</summary>
    public void Dispose()
    {
        _entry.Dispose();
        _archive.Dispose();
    }

    private void CheckImages()
    {
        if (_written != _count) throw new InvalidOperationException($"{_written} of {_count} images are written");
    }

    private void Next(string name)
    {
        CheckImages();
        _entry.Dispose();
        _entry = Begin(name);
    }

    private Stream Begin(string name)
    {
        var entry = _archive.CreateEntry(name, CompressionLevel.NoCompression);
        // The same images make the same file.
        entry.LastWriteTime = new DateTimeOffset(1980, 1, 1, 0, 0, 0, TimeSpan.Zero);
        return entry.Open();
    }

    // Magic, version 1.0, length of the rest, a Python literal, spaces up to the alignment, a line feed.
    private static byte[] Header(string type, string shape)
    {
        var description = $"{{'descr': '{type}', 'fortran_order': False, 'shape': {shape}, }}";
        const int prefixLength = 10;
        var length = (prefixLength + description.Length + 1 + HeaderAlignment - 1) / HeaderAlignment * HeaderAlignment;
        var restLength = length - prefixLength;
        return
        [
            0x93, .. "NUMPY"u8, 1, 0, (byte)restLength, (byte)(restLength >> 8),
            .. Encoding.ASCII.GetBytes(description.PadRight(restLength - 1)), (byte)'\n',
        ];
    }
}
