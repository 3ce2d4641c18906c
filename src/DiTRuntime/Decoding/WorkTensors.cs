using DiTRuntime.Backends;

namespace DiTRuntime.Decoding;

/// <summary>The activations of a decoder for one tile shape: taken and given back by shape, allocated the first time only.</summary>
internal sealed class WorkTensors(IDiTBackend backend) : IDisposable
{
    private readonly List<Tensor> _all = [];
    private readonly HashSet<Tensor> _taken = [];

    /// <summary>Bytes of all tensors.</summary>
    public long ByteCount => _all.Sum(tensor => (long)tensor.Count * sizeof(float));

    /// <summary>A tensor of this shape that nobody uses; its values are undefined.</summary>
    public Tensor Take(params ReadOnlySpan<int> shape)
    {
        foreach (var tensor in _all)
            if (tensor.Shape.SequenceEqual(shape) && _taken.Add(tensor)) return tensor;
        var created = backend.AllocateActivations(null, shape);
        _all.Add(created);
        _taken.Add(created);
        return created;
    }

    /// <summary>Makes a tensor available to others.</summary>
    public void GiveBack(Tensor tensor) => _taken.Remove(tensor);

    /// <summary>Makes every tensor available: what a cancelled decode held is free again.</summary>
    public void GiveBackAll() => _taken.Clear();

    public void Dispose()
    {
        foreach (var tensor in _all) tensor.Dispose();
        _all.Clear();
        _taken.Clear();
    }
}
