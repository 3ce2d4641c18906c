using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace DiTRuntime.Checkpoints;

/// <summary>A file mapped read-only into memory: opening it touches none of its pages.</summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedFile _mapping;
    private readonly MemoryMappedViewAccessor _view;
    private readonly SafeMemoryMappedViewHandle _handle;
    private readonly byte* _start;

    private MappedFile(string path, long length, MemoryMappedFile mapping)
    {
        Path = path;
        Length = length;
        _mapping = mapping;
        _view = mapping.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
        _handle = _view.SafeMemoryMappedViewHandle;
        _handle.AcquirePointer(ref _start);
    }

    /// <summary>The path as the user gave it.</summary>
    public string Path { get; }

    /// <summary>Bytes in the file.</summary>
    public long Length { get; }

    /// <summary>Maps a file.</summary>
    /// <exception cref="InvalidFileException">The file is missing, empty, a folder, or cannot be read.</exception>
    public static MappedFile Open(string path)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            var length = stream.Length;
            if (length == 0) throw new InvalidFileException(path, "the file is empty");
            var mapping = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            return new MappedFile(path, length, mapping);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new InvalidFileException(path, "no such file", e);
        }
        catch (Exception e) when (e is ArgumentException or NotSupportedException)
        {
            // An empty path, or a pipe or device: what has no length cannot be mapped.
            throw new InvalidFileException(path, "not a file that can be mapped into memory", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new InvalidFileException(path, Directory.Exists(path) ? "this is a folder, a file was expected" : "no permission to read it", e);
        }
        catch (IOException e)
        {
            throw new InvalidFileException(path, $"cannot be read ({e.Message})", e);
        }
    }

    /// <summary>Bytes of the file, by offset; bounds are checked.</summary>
    public ReadOnlySpan<byte> Slice(long offset, int length)
    {
        if (offset < 0 || length < 0 || offset > Length - length)
            throw new InvalidFileException(Path, $"{length} bytes at offset {offset} lie outside the file of {Length} bytes");
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        return new ReadOnlySpan<byte>(_start + offset, length);
    }

    public void Dispose()
    {
        if (!_handle.IsClosed) _handle.ReleasePointer();
        _view.Dispose();
        _mapping.Dispose();
    }
}
