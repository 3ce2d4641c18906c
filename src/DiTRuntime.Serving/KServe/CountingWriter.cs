using System.Buffers;

namespace DiTRuntime.Serving.KServe;

/// <summary>Counts what is written to it, and forgets it.</summary>
internal sealed class CountingWriter : IBufferWriter<byte>
{
    private byte[] _buffer = new byte[4096];

    /// <summary>Bytes written.</summary>
    public long Count { get; private set; }

    /// <inheritdoc/>
    public void Advance(int count) => Count += count;

    /// <inheritdoc/>
    public Memory<byte> GetMemory(int sizeHint = 0) => sizeHint <= _buffer.Length ? _buffer : _buffer = new byte[sizeHint];

    /// <inheritdoc/>
    public Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;
}
