using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends;

/// <summary>A shape, an element type, and storage that one backend owns. Row-major.</summary>
public abstract class Tensor : IDisposable
{
    private readonly int[] _shape;

    /// <param name="owner">The backend whose memory this is.</param>
    /// <param name="type">The element type that callers upload and download.</param>
    /// <param name="shape">Extents, slowest first.</param>
    /// <param name="activations">How the values are quantized; the type is then U8.</param>
    protected Tensor(IDiTBackend owner, ElementType type, ReadOnlySpan<int> shape, ActivationFormat? activations = null)
    {
        Activations = activations;
        Owner = owner;
        Type = type;
        _shape = shape.ToArray();
        Count = 1;
        foreach (var extent in shape) Count = checked(Count * extent);
    }

    /// <summary>The backend whose memory this is; operations refuse tensors of another.</summary>
    public IDiTBackend Owner { get; }

    /// <summary>How the values are quantized (U8 codes with a scale and a zero point per row and group), or null.</summary>
    public ActivationFormat? Activations { get; }

    /// <summary>The element type that callers upload and download; a backend may keep activations in fewer bits (<see cref="IDiTBackend.AllocateActivations"/>).</summary>
    public ElementType Type { get; }

    /// <summary>Extents, slowest first.</summary>
    public ReadOnlySpan<int> Shape => _shape;

    /// <summary>Number of elements.</summary>
    public int Count { get; }

    /// <summary>The last extent: the length of a row.</summary>
    public int RowLength => _shape[^1];

    /// <summary>Number of rows when all dimensions but the last count as one.</summary>
    public int RowCount => RowLength == 0 ? 0 : Count / RowLength;

    /// <summary>The first <paramref name="extent"/> slices along the first dimension, sharing storage.</summary>
    /// <exception cref="ArgumentException">There are not so many, or none was asked for.</exception>
    public Tensor Prefix(int extent) => Rows(0, extent);

    /// <summary>Some neighbouring slices along the first dimension, sharing storage; of quantized activations the first ones only.</summary>
    /// <param name="first">The first slice.</param>
    /// <param name="count">How many.</param>
    /// <exception cref="ArgumentException">The tensor does not hold them.</exception>
    public Tensor Rows(int first, int count)
    {
        TensorCheck.Rows(this, first, count);
        return View(first, [count, .. _shape[1..]]);
    }

    /// <summary>Another shape of part of this storage.</summary>
    /// <param name="firstSlice">Slice along the first dimension where it begins; 0 for quantized activations.</param>
    /// <param name="shape">Fewer slices of the same extents.</param>
    protected abstract Tensor View(int firstSlice, ReadOnlySpan<int> shape);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the storage back.</summary>
    protected abstract void Dispose(bool disposing);
}
