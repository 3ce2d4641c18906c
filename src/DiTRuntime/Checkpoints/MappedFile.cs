using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace DiTRuntime.Checkpoints;

/// <summary>A file mapped read-only into memory, where opening it touches none of its pages; or copied, where nothing that happens to it later matters.</summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly SafeBuffer _memory;
    private readonly byte* _start;

    private MappedFile(string path, long length, SafeBuffer memory)
    {
        Path = path;
        Length = length;
        _memory = memory;
        _memory.AcquirePointer(ref _start);
    }

    /// <summary>The path as the user gave it.</summary>
    public string Path { get; }

    /// <summary>Bytes in the file.</summary>
    public long Length { get; }

    /// <summary>Maps a file, or copies it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="copies">Whether to read all of it into memory: a mapped file that is cut short by somebody ends the process.</param>
    /// <exception cref="InvalidFileException">The file is missing, empty, a folder, or cannot be read.</exception>
    public static MappedFile Open(string path, bool copies = false)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            var length = stream.Length;
            if (length == 0) throw new InvalidFileException(path, "the file is empty");
            return new MappedFile(path, length, copies ? Copy(stream, length) : Map(stream, length));
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
        ObjectDisposedException.ThrowIf(_memory.IsClosed, this);
        return new ReadOnlySpan<byte>(_start + offset, length);
    }

    public void Dispose()
    {
        if (!_memory.IsClosed) _memory.ReleasePointer();
        _memory.Dispose();
    }

    /// <summary>The view lives on without the objects it was made by.</summary>
    private static SafeMemoryMappedViewHandle Map(FileStream stream, long length)
    {
        using var mapping = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        return mapping.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read).SafeMemoryMappedViewHandle;
    }

    private static NativeMemoryBuffer Copy(FileStream stream, long length)
    {
        var memory = new NativeMemoryBuffer(length);
        try
        {
            for (long offset = 0; offset < length;)
            {
                var part = new Span<byte>((byte*)memory.DangerousGetHandle() + offset, (int)Math.Min(length - offset, 1 << 30));
                stream.ReadExactly(part);
                offset += part.Length;
            }

            return memory;
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }

    /// <summary>Memory of its own, aligned as pages are.</summary>
    private sealed class NativeMemoryBuffer : SafeBuffer
    {
        private const int PageBytes = 4096;

        public NativeMemoryBuffer(long length)
            : base(ownsHandle: true)
        {
            SetHandle((nint)NativeMemory.AlignedAlloc((nuint)length, PageBytes));
            Initialize((ulong)length);
        }

        protected override bool ReleaseHandle()
        {
            NativeMemory.AlignedFree((void*)handle);
            return true;
        }
    }
}
