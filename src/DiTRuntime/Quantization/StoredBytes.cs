using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>Bytes of a weight: of a tensor in the mapped file, or in memory. Neither moves, so a backend may point into them while the weight lives.</summary>
internal readonly struct StoredBytes
{
    private readonly byte[]? _memory;
    private readonly CheckpointTensor? _tensor;

    /// <param name="source">What is copied.</param>
    public StoredBytes(ReadOnlySpan<byte> source)
    {
        _memory = GC.AllocateUninitializedArray<byte>(source.Length, pinned: true);
        source.CopyTo(_memory);
    }

    /// <param name="tensor">A tensor in row-major order, or null for no bytes.</param>
    public StoredBytes(CheckpointTensor? tensor) => _tensor = tensor;

    /// <summary>The bytes.</summary>
    public ReadOnlySpan<byte> Bytes => _tensor is null ? _memory : _tensor.Bytes;

    /// <summary>A copy in memory.</summary>
    public StoredBytes ToMemory() => new(Bytes);
}
