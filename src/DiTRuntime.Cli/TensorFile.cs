using System.Numerics.Tensors;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Cli;

/// <summary>A file of named tensors that the user gives as input; everything read is checked.</summary>
internal sealed class TensorFile(string path) : IDisposable
{
    private readonly ICheckpoint _checkpoint = Checkpoint.Open(path);

    /// <summary>Whether the file holds a tensor.</summary>
    public bool Has(string name) => _checkpoint.TryGet(name, out _);

    /// <summary>Reads real numbers, row-major.</summary>
    /// <param name="name">Name of the tensor.</param>
    /// <param name="shape">Expected extents; null accepts any extent from 1.</param>
    /// <exception cref="InvalidFileException">The tensor is missing, of another shape, or not finite.</exception>
    public float[] Read(string name, params ReadOnlySpan<int?> shape)
    {
        var tensor = Find(name);
        if (!Matches(tensor.Shape, shape)) throw Wrong($"tensor {name} has shape {tensor.ShapeText}; {Describe(shape)} was expected");
        var values = tensor.ToArray();
        if (!TensorPrimitives.IsFiniteAll(values)) throw Wrong($"tensor {name} holds values that are not finite");
        return values;
    }

    /// <summary>Reads whole numbers, one for each of some rows, or one for all of them.</summary>
    /// <param name="name">Name of the tensor: [count], [1] or a scalar, of any number type.</param>
    /// <param name="count">Number of rows.</param>
    /// <param name="limit">Values are at least 0 and below this.</param>
    /// <exception cref="InvalidFileException">The tensor is missing, of another shape, or holds other values.</exception>
    public int[] ReadIndices(string name, int count, int limit)
    {
        var tensor = Find(name);
        if (tensor.Shape.Length > 1 || (tensor.Count != count && tensor.Count != 1))
            throw Wrong($"tensor {name} has shape {tensor.ShapeText}; [{count}] or [1] was expected");
        var values = tensor.ToArray();
        var indices = new int[count];
        for (var i = 0; i < count; i++)
        {
            var value = values[values.Length == 1 ? 0 : i];
            if (!(value >= 0 && value < limit) || value != MathF.Truncate(value))
                throw Wrong($"tensor {name} holds {value}; whole numbers from 0 to {limit - 1} were expected");
            indices[i] = (int)value;
        }

        return indices;
    }

    /// <summary>Reads one number.</summary>
    /// <exception cref="InvalidFileException">The tensor is missing, or holds more than one number or none that is finite.</exception>
    public float ReadNumber(string name)
    {
        var tensor = Find(name);
        if (tensor.Count != 1) throw Wrong($"tensor {name} has shape {tensor.ShapeText}; one number was expected");
        var value = tensor.ToArray()[0];
        return float.IsFinite(value) ? value : throw Wrong($"tensor {name} holds {value}; a finite number was expected");
    }

    /// <inheritdoc/>
    public void Dispose() => _checkpoint.Dispose();

    private static bool Matches(ReadOnlySpan<int> found, ReadOnlySpan<int?> expected)
    {
        if (found.Length != expected.Length) return false;
        for (var i = 0; i < found.Length; i++)
            if (expected[i] is { } extent ? found[i] != extent : found[i] < 1) return false;
        return true;
    }

    private static string Describe(ReadOnlySpan<int?> shape)
    {
        var extents = new string[shape.Length];
        for (var i = 0; i < shape.Length; i++) extents[i] = shape[i]?.ToString(null, null) ?? "n";
        return $"[{string.Join(",", extents)}]";
    }

    private CheckpointTensor Find(string name) =>
        _checkpoint.TryGet(name, out var tensor)
            ? tensor
            : throw Wrong($"no tensor {name}; found {(_checkpoint.Tensors.Count == 0 ? "none" : string.Join(", ", _checkpoint.Tensors.Take(8).Select(t => t.Name)))}");

    private InvalidFileException Wrong(string problem) => new(path, problem);
}
