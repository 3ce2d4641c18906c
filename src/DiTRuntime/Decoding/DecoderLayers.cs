using System.Globalization;
using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Decoding;

/// <summary>Scale and shift of a group norm.</summary>
/// <param name="Gamma">F32 [C].</param>
/// <param name="Beta">F32 [C].</param>
internal readonly record struct GroupNormLayer(Tensor Gamma, Tensor Beta);

/// <summary>
/// Takes a decoder's layers out of a checkpoint by name, checks their shapes, and prepares them for a backend. Owns what it prepared.
/// </summary>
/// <param name="checkpoint">Read while layers are taken, not after.</param>
/// <param name="backend">Prepares the layers.</param>
internal sealed class DecoderLayers(ICheckpoint checkpoint, IDiTBackend backend) : IDisposable
{
    private readonly HashSet<string> _taken = [];
    private readonly List<IDisposable> _prepared = [];

    /// <summary>The checkpoint's path, for errors.</summary>
    public string File { get; } = checkpoint.Path;

    /// <summary>Whether the checkpoint holds this tensor.</summary>
    public bool Has(string name) => checkpoint.TryGet(name, out _);

    /// <summary>Whether some tensor's name begins so.</summary>
    public bool HasAny(string prefix) => checkpoint.Tensors.Any(tensor => tensor.Name.StartsWith(prefix, StringComparison.Ordinal));

    /// <summary>One more than the largest number that follows the prefix in a tensor's name; 0 when there is none.</summary>
    public int CountNumbered(string prefix)
    {
        var count = 0;
        foreach (var tensor in checkpoint.Tensors)
        {
            if (!tensor.Name.StartsWith(prefix, StringComparison.Ordinal)) continue;
            var rest = tensor.Name.AsSpan(prefix.Length);
            var dot = rest.IndexOf('.');
            // Four digits and more are no layer's number; such a tensor is refused as unknown.
            if (dot is >= 1 and <= 3 && int.TryParse(rest[..dot], NumberStyles.None, CultureInfo.InvariantCulture, out var number))
                count = Math.Max(count, number + 1);
        }

        return count;
    }

    /// <summary>The extents of a convolution's weight, before anything is known about it: (Cout, Cin).</summary>
    public (int Outputs, int Inputs) ConvolutionSize(string layer)
    {
        var weight = Get(layer + ".weight");
        return weight.Shape is [> 0, > 0, _, _]
            ? (weight.Shape[0], weight.Shape[1])
            : throw Invalid($"tensor {weight.Name} is {weight.ShapeText}, expected a convolution [outputs,inputs,k,k]");
    }

    /// <summary>A k×k convolution.</summary>
    /// <param name="layer">Name of the layer, without ".weight".</param>
    /// <param name="outputs">Cout.</param>
    /// <param name="inputs">Cin.</param>
    /// <param name="kernelSize">k.</param>
    /// <param name="hasBias">Whether the layer has a bias.</param>
    public PreparedConvolution Convolution(string layer, int outputs, int inputs, int kernelSize = 3, bool hasBias = true)
    {
        var weight = Take(layer + ".weight", outputs, inputs, kernelSize, kernelSize);
        var bias = hasBias ? Vector(layer + ".bias", outputs) : null;
        return Keep(backend.Prepare(new ConvolutionWeight(layer, weight, bias)));
    }

    /// <summary>A linear layer, its rows stacked from several; each is a matrix [N, K] or a 1×1 convolution [N, K, 1, 1].</summary>
    /// <param name="layers">Names of the layers, without ".weight".</param>
    /// <param name="outputs">N of each.</param>
    /// <param name="inputs">K.</param>
    public PreparedLinear Linear(ReadOnlySpan<string> layers, int outputs, int inputs)
    {
        var parts = new List<CheckpointTensor>();
        var bias = new List<float>();
        foreach (var layer in layers)
        {
            var isMatrix = Get(layer + ".weight").Shape.Length == 2;
            parts.Add(isMatrix ? Take(layer + ".weight", outputs, inputs) : Take(layer + ".weight", outputs, inputs, 1, 1));
            bias.AddRange(Vector(layer + ".bias", outputs));
        }

        return Keep(backend.Prepare(new DenseWeight(layers[0], parts, [.. bias])));
    }

    /// <summary>A group norm's scale and shift.</summary>
    public GroupNormLayer GroupNorm(string layer, int channels) =>
        new(Uploaded(Vector(layer + ".weight", channels)), Uploaded(Vector(layer + ".bias", channels)));

    /// <summary>Refuses the tensors that no layer took.</summary>
    /// <param name="isForeign">Whether a tensor of this name belongs to another part of the model, and may lie here.</param>
    public void RefuseUnknown(Func<string, bool> isForeign)
    {
        foreach (var tensor in checkpoint.Tensors)
            if (!_taken.Contains(tensor.Name) && !isForeign(tensor.Name))
                throw Invalid($"tensor {tensor.Name} {tensor.ShapeText} is unknown to this decoder");
    }

    public InvalidFileException Invalid(string problem) => new(File, problem);

    public void Dispose()
    {
        foreach (var layer in _prepared) layer.Dispose();
        _prepared.Clear();
    }

    private float[] Vector(string name, int length)
    {
        var tensor = Take(name, length);
        var values = tensor.ToArray();
        Finite.Check(values, tensor);
        return values;
    }

    private Tensor Uploaded(float[] values)
    {
        var tensor = Keep(backend.Allocate(ElementType.F32, values.Length));
        backend.Upload<float>(values, tensor);
        return tensor;
    }

    private CheckpointTensor Get(string name) =>
        checkpoint.TryGet(name, out var tensor) ? tensor : throw Invalid($"tensor {name} is missing");

    private CheckpointTensor Take(string name, params ReadOnlySpan<int> shape)
    {
        if (!checkpoint.TryGet(name, out var tensor))
            throw Invalid($"tensor {name} is missing, expected {Text(shape)}");
        if (!tensor.Shape.SequenceEqual(shape))
            throw Invalid($"tensor {name} is {tensor.ShapeText}, expected {Text(shape)}");
        if (!tensor.Type.IsFloatingPoint())
            throw Invalid($"tensor {name} holds {tensor.Type}, weights are floating-point");
        _taken.Add(name);
        return tensor;
    }

    private T Keep<T>(T layer)
        where T : IDisposable
    {
        _prepared.Add(layer);
        return layer;
    }

    private static string Text(ReadOnlySpan<int> shape) => "[" + string.Join(",", shape.ToArray()) + "]";
}
