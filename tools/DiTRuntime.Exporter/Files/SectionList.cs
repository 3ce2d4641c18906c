using System.Runtime.InteropServices;

namespace DiTRuntime.Exporter.Files;

/// <summary>
/// The sections of a file: places are given out first, so that the header can name them; the contents follow one after the other, so that
/// none of them need be in memory before its turn.
/// </summary>
internal sealed class SectionList
{
    /// <summary>Where a section begins, at the least.</summary>
    public const int SectionAlignment = 64;

    /// <summary>Where a weight begins: at a page of the mapped file.</summary>
    public const int WeightAlignment = 4096;

    private readonly List<(FileSection Place, Action<Stream> Write)> _sections = [];
    private ulong _end;

    /// <param name="headerBytes">Bytes before the first section.</param>
    public SectionList(int headerBytes) => _end = (ulong)headerBytes;

    /// <summary>Bytes of the whole file: whole pages, so that a vector may be read past the last value.</summary>
    public ulong FileBytes => AlignUp(_end + SectionAlignment, WeightAlignment);

    /// <summary>Gives a section its place.</summary>
    /// <param name="bytes">Its length; 0 makes an absent section.</param>
    /// <param name="write">Writes exactly so many bytes.</param>
    /// <param name="alignment">A power of two.</param>
    public FileSection Add(long bytes, Action<Stream> write, int alignment = SectionAlignment)
    {
        if (bytes == 0) return default;
        var place = new FileSection { Offset = AlignUp(_end, (ulong)alignment), Bytes = (ulong)bytes };
        _end = place.Offset + place.Bytes;
        _sections.Add((place, write));
        return place;
    }

    /// <summary>Gives values their place.</summary>
    public FileSection Add<T>(T[] values, int alignment = SectionAlignment)
        where T : unmanaged
    {
        return Add(MemoryMarshal.AsBytes<T>(values).Length, stream => stream.Write(MemoryMarshal.AsBytes<T>(values)), alignment);
    }

    /// <summary>Writes all sections after what the stream already holds, and fills the file up.</summary>
    /// <param name="stream">Stands behind the header.</param>
    /// <param name="onWritten">Told the bytes of each section.</param>
    /// <param name="cancellation">Ends the writing between sections.</param>
    /// <exception cref="InvalidOperationException">A section wrote more or less than it said.</exception>
    public void Write(Stream stream, Action<long>? onWritten, CancellationToken cancellation)
    {
        foreach (var (place, write) in _sections)
        {
            cancellation.ThrowIfCancellationRequested();
            Pad(stream, (long)place.Offset);
            write(stream);
            if ((ulong)stream.Position != place.Offset + place.Bytes)
                throw new InvalidOperationException($"a section of {place.Bytes} bytes at {place.Offset} ended at {stream.Position}");
            onWritten?.Invoke((long)place.Bytes);
        }

        Pad(stream, (long)FileBytes);
    }

    private static void Pad(Stream stream, long position)
    {
        Span<byte> zeros = stackalloc byte[WeightAlignment];
        zeros.Clear();
        for (var left = position - stream.Position; left > 0; left = position - stream.Position) stream.Write(zeros[..(int)Math.Min(left, zeros.Length)]);
    }

    private static ulong AlignUp(ulong value, ulong alignment) => (value + alignment - 1) & ~(alignment - 1);
}
