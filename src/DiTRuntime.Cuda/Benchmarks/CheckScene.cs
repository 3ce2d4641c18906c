using System.Runtime.InteropServices;
using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>Shapes of the checks: token counts that fill no tile.</summary>
/// <param name="Config">Widths; its latent's side is <paramref name="Side"/> patches.</param>
/// <param name="Samples">B.</param>
/// <param name="Side">Patches along each side of a sample.</param>
/// <param name="LongSide">The same for attention over more keys than one pass holds.</param>
/// <param name="WideHead">Head size of the decoder's attention.</param>
/// <param name="Channels">Of the decoder's convolution.</param>
internal sealed record CheckShapes(DiTConfig Config, int Samples, int Side, int LongSide, int WideHead, int Channels)
{
    /// <summary>T.</summary>
    public int Tokens => Side * Side;

    /// <summary>Those of a benchmark.</summary>
    public static CheckShapes Of(BenchSettings settings) =>
        settings.IsQuick ? new(settings.Config, 2, 3, 17, 136, 32) : new(settings.Config, 2, 14, 20, 512, 128);
}

/// <summary>Tensors and layers of one check on one backend, from values that are the same on every backend.</summary>
internal sealed class CheckScene(IDiTBackend backend, CheckShapes shapes, SyntheticLayers layers) : IDisposable
{
    private readonly ResourceList _owned = new();

    /// <summary>Where it runs.</summary>
    public IDiTBackend Backend => backend;

    /// <summary>Shapes.</summary>
    public CheckShapes Shapes => shapes;

    /// <summary>Makes weights.</summary>
    public SyntheticLayers Layers => layers;

    /// <summary>Random activations in the backend's own precision.</summary>
    public Tensor Activations(int seed, params ReadOnlySpan<int> shape)
    {
        var tensor = _owned.Add(backend.AllocateActivations(null, shape));
        backend.Upload<float>(SyntheticLayers.Values(tensor.Count, seed), tensor);
        return tensor;
    }

    /// <summary>Activations of zero, to be written.</summary>
    public Tensor Output(ActivationFormat? format, params ReadOnlySpan<int> shape) => _owned.Add(backend.AllocateActivations(format, shape));

    /// <summary>Random floats.</summary>
    public Tensor Floats(int seed, float deviation, params ReadOnlySpan<int> shape)
    {
        var tensor = _owned.Add(backend.Allocate(ElementType.F32, shape));
        backend.Upload<float>(SyntheticLayers.Values(tensor.Count, seed, deviation), tensor);
        return tensor;
    }

    /// <summary>Integers.</summary>
    public Tensor Integers(params ReadOnlySpan<int> values)
    {
        var tensor = _owned.Add(backend.Allocate(ElementType.I32, values.Length));
        backend.Upload(values, tensor);
        return tensor;
    }

    /// <summary>A layer of random weights.</summary>
    public PreparedLinear Layer(int outputs, int inputs, LayerFormat format, LinearUse use = LinearUse.Linear) =>
        _owned.Add(backend.Prepare(layers.Make("layer", outputs, inputs, format), use));

    /// <summary>A convolution of random weights, through a file as a decoder has it.</summary>
    public PreparedConvolution Convolution(int outputs, int inputs, int side)
    {
        var values = Array.ConvertAll(SyntheticLayers.Values(outputs * inputs * side * side, 13, 1f / (side * MathF.Sqrt(inputs))), value => (Half)value);
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, MemoryMarshal.AsBytes<Half>(values).ToArray());
            using var file = MappedFile.Open(path);
            var tensor = new CheckpointTensor(file, "convolution.weight", ElementType.F16, [outputs, inputs, side, side], 0);
            return _owned.Add(backend.Prepare(new ConvolutionWeight("convolution", tensor, SyntheticLayers.Values(outputs, 14, 0.1f))));
        }
        finally
        {
            File.Delete(path);
        }
    }

    /// <summary>Random modulation: each sample reads a row of its own.</summary>
    public Modulation Modulation(int chunks)
    {
        var rows = new int[shapes.Samples];
        for (var i = 0; i < rows.Length; i++) rows[i] = rows.Length - 1 - i;
        return new Modulation(Floats(21, 0.5f, rows.Length, chunks * shapes.Config.HiddenSize), Integers(rows));
    }

    /// <summary>What a layer reads: random tokens, normed, modulated and, where it asks for that, quantized.</summary>
    public Tensor Normed(PreparedLinear layer, int seed = 1)
    {
        var tokens = Activations(seed, shapes.Samples, shapes.Tokens, shapes.Config.HiddenSize);
        var normed = Output(layer.Activations, tokens.Shape);
        backend.NormModulate(tokens, Modulation(6), 0, 1e-6f, normed);
        return normed;
    }

    /// <summary>Takes a resource over.</summary>
    public T Add<T>(T resource)
        where T : IDisposable => _owned.Add(resource);

    /// <summary>A tensor's values.</summary>
    public float[] Read(Tensor tensor)
    {
        var values = new float[tensor.Count];
        backend.Download<float>(tensor, values);
        return values;
    }

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();
}
