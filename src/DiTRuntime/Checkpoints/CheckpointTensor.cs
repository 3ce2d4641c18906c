namespace DiTRuntime.Checkpoints;

/// <summary>
/// A view of a tensor in a memory-mapped file: element type, shape, strides, and where its bytes lie.
/// Reading converts to fp32; nothing is read before that.
/// </summary>
public sealed class CheckpointTensor
{
    private readonly MappedFile _file;
    private readonly long _byteOffset;
    private readonly int[] _shape;
    private readonly long[] _strides;

    /// <param name="file">The mapping that holds the bytes; outlives the tensor.</param>
    /// <param name="name">The tensor's name in the file.</param>
    /// <param name="type">Its element type.</param>
    /// <param name="shape">Its shape; empty for a scalar.</param>
    /// <param name="byteOffset">Where element 0 lies in the file.</param>
    /// <param name="strides">Strides in elements; row-major when absent.</param>
    /// <remarks>The caller has checked that every element lies inside the file and that the element count fits an int.</remarks>
    internal CheckpointTensor(MappedFile file, string name, ElementType type, int[] shape, long byteOffset, long[]? strides = null)
    {
        _file = file;
        _byteOffset = byteOffset;
        _shape = shape;
        _strides = strides ?? RowMajor(shape);
        IsContiguous = strides is null || strides.AsSpan().SequenceEqual(RowMajor(shape));
        Name = name;
        Type = type;
        Count = shape.Aggregate(1, (product, extent) => checked(product * extent));
    }

    /// <summary>The name in the file.</summary>
    public string Name { get; }

    /// <summary>The path of the file, for errors.</summary>
    public string File => _file.Path;

    /// <summary>The element type in the file.</summary>
    public ElementType Type { get; }

    /// <summary>The shape; empty for a scalar.</summary>
    public ReadOnlySpan<int> Shape => _shape;

    /// <summary>Number of elements.</summary>
    public int Count { get; }

    /// <summary>Bytes of the elements, as stored.</summary>
    public long ByteCount => (long)Count * Type.ByteSize();

    /// <summary>The shape as people write it: <c>[1152,4,2,2]</c>.</summary>
    public string ShapeText => "[" + string.Join(",", _shape) + "]";

    /// <summary>Whether the elements lie in row-major order without gaps.</summary>
    public bool IsContiguous { get; }

    /// <summary>The stored bytes of a contiguous tensor.</summary>
    /// <exception cref="InvalidOperationException">The tensor is a strided view.</exception>
    public ReadOnlySpan<byte> Bytes => IsContiguous
        ? _file.Slice(_byteOffset, checked((int)ByteCount))
        : throw new InvalidOperationException($"{Name} is a strided view");

    /// <summary>Copies all elements, converted to fp32, in row-major order.</summary>
    public void CopyTo(Span<float> destination)
    {
        if (_shape.Length == 0) CopyElements(0, destination[..1], 0, []);
        else CopyRows(0, _shape[0], destination);
    }

    /// <summary>All elements, converted to fp32, in row-major order.</summary>
    public float[] ToArray()
    {
        var values = new float[Count];
        CopyTo(values);
        return values;
    }

    /// <summary>Copies rows (slices along the first dimension), converted to fp32, in row-major order.</summary>
    /// <param name="firstRow">First row.</param>
    /// <param name="rowCount">Number of rows.</param>
    /// <param name="destination">At least rowCount × row length elements.</param>
    public void CopyRows(int firstRow, int rowCount, Span<float> destination)
    {
        var rowLength = _shape[0] == 0 ? 0 : Count / _shape[0];
        var rows = new int[_shape.Length];
        _shape.CopyTo(rows, 0);
        rows[0] = rowCount;
        CopyElements(firstRow * _strides[0], destination[..checked(rowCount * rowLength)], 0, rows);
    }

    private void CopyElements(long elementOffset, Span<float> destination, int axis, int[] shape)
    {
        if (destination.IsEmpty) return;
        if (IsDense(axis, shape))
        {
            var bytes = _file.Slice(_byteOffset + elementOffset * Type.ByteSize(), destination.Length * Type.ByteSize());
            ElementConversion.ToSingle(bytes, Type, destination);
            return;
        }

        var rowLength = destination.Length / shape[axis];
        for (var i = 0; i < shape[axis]; i++)
            CopyElements(elementOffset + i * _strides[axis], destination.Slice(i * rowLength, rowLength), axis + 1, shape);
    }

    private bool IsDense(int axis, int[] shape)
    {
        long expected = 1;
        for (var i = shape.Length - 1; i >= axis; i--)
        {
            if (shape[i] != 1 && _strides[i] != expected) return false;
            expected *= shape[i];
        }

        return true;
    }

    private static long[] RowMajor(int[] shape)
    {
        var strides = new long[shape.Length];
        long stride = 1;
        for (var i = shape.Length - 1; i >= 0; i--)
        {
            strides[i] = stride;
            stride *= shape[i];
        }

        return strides;
    }
}
