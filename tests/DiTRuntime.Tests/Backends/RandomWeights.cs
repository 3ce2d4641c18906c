using System.Runtime.InteropServices;
using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Backends;

/// <summary>Weights for single layers, in a raw file that is mapped as a checkpoint's would be.</summary>
internal sealed class RandomWeights : IDisposable
{
    private readonly List<MappedFile> _files = [];
    private readonly Random _random;

    public RandomWeights(int seed) => _random = new Random(seed);

    public float[] Values(int count, float scale = 1)
    {
        var values = new float[count];
        for (var i = 0; i < count; i++) values[i] = scale * (2 * _random.NextSingle() - 1);
        return values;
    }

    public CheckpointTensor Tensor(string name, float[] values, params int[] shape)
    {
        var path = Path.GetTempFileName();
        File.WriteAllBytes(path, MemoryMarshal.AsBytes<float>(values).ToArray());
        var file = MappedFile.Open(path);
        File.Delete(path);
        _files.Add(file);
        return new CheckpointTensor(file, name, ElementType.F32, shape, 0);
    }

    public DenseWeight Linear(int outputs, int inputs, bool bias = true) => new(
        "layer", [Tensor("layer.weight", Values(outputs * inputs), outputs, inputs)], bias ? Values(outputs) : null);

    public ConvolutionWeight Convolution(int outputs, int inputs, int side) => new(
        "conv", Tensor("conv.weight", Values(outputs * inputs * side * side), outputs, inputs, side, side), Values(outputs));

    public void Dispose()
    {
        foreach (var file in _files) file.Dispose();
    }
}
