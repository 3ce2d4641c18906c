using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda;
using DiTRuntime.Tests.Cuda.Engine;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Cuda.Training;

/// <summary>A backend on the tests' device, and tensors on it that go with it.</summary>
internal sealed class TrainingScene : IDisposable
{
    private readonly ResourceList _owned = new();

    public CudaBackend Backend { get; } = EmulatedEngine.Create();

    /// <summary>A tensor of values.</summary>
    public Tensor Of(float[] values, params int[] shape)
    {
        var tensor = _owned.Add(Backend.Allocate(ElementType.F32, shape));
        Backend.Upload<float>(values, tensor);
        return tensor;
    }

    /// <summary>A tensor of normal values, and the values.</summary>
    public (Tensor Tensor, float[] Values) Normal(int seed, params int[] shape)
    {
        var values = Gaussian.Values(shape.Aggregate((a, b) => a * b), seed);
        return (Of(values, shape), values);
    }

    public float[] Read(Tensor tensor)
    {
        var values = new float[tensor.Count];
        Backend.Download<float>(tensor, values);
        return values;
    }

    public void Dispose()
    {
        _owned.Dispose();
        Backend.Dispose();
    }
}
