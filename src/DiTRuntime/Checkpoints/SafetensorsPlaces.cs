namespace DiTRuntime.Checkpoints;

/// <summary>The places of the tensors in a safetensors file whose header is written.</summary>
public sealed class SafetensorsPlaces
{
    private readonly Stream _stream;
    private readonly Dictionary<string, (TensorDescription Tensor, long Offset)> _open = new(StringComparer.Ordinal);

    /// <param name="stream">A seekable stream, at the end of the header.</param>
    /// <param name="tensors">The tensors, as the header lists them.</param>
    internal SafetensorsPlaces(Stream stream, IReadOnlyList<TensorDescription> tensors)
    {
        _stream = stream;
        Tensors = tensors;
        var offset = stream.Position;
        foreach (var tensor in tensors)
        {
            _open[tensor.Name] = (tensor, offset);
            offset += tensor.ByteCount;
        }

        stream.SetLength(offset);
    }

    /// <summary>The tensors in the order of the file.</summary>
    public IReadOnlyList<TensorDescription> Tensors { get; }

    /// <summary>Writes a tensor to its place.</summary>
    /// <param name="tensor">As it was described.</param>
    /// <param name="write">Writes exactly its bytes, row-major and little-endian.</param>
    /// <exception cref="InvalidOperationException">
    /// No such tensor was described, it is written already, or the callback wrote another number of bytes than it has.
    /// </exception>
    public void Write(TensorDescription tensor, Action<Stream> write)
    {
        if (!_open.Remove(tensor.Name, out var place) || place.Tensor.Type != tensor.Type || !place.Tensor.Shape.SequenceEqual(tensor.Shape))
            throw new InvalidOperationException($"{tensor.Name} {tensor.Type} {TensorRules.Text<int>([.. tensor.Shape])} has no open place");
        _stream.Position = place.Offset;
        write(_stream);
        if (_stream.Position - place.Offset != tensor.ByteCount)
            throw new InvalidOperationException($"{tensor.Name}: {_stream.Position - place.Offset} bytes written, {tensor.ByteCount} described");
    }

    /// <summary>Every tensor is written.</summary>
    /// <exception cref="InvalidOperationException">One is not.</exception>
    public void CheckComplete()
    {
        if (_open.Count > 0) throw new InvalidOperationException($"{_open.Keys.First()} and {_open.Count - 1} more tensors were not written");
    }
}
