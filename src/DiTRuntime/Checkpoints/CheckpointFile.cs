using System.Diagnostics.CodeAnalysis;

namespace DiTRuntime.Checkpoints;

/// <summary>An opened checkpoint of any format: what its reader found, and the mappings that hold the bytes.</summary>
internal sealed class CheckpointFile : ICheckpoint
{
    private readonly Dictionary<string, CheckpointTensor> _byName;
    private readonly IReadOnlyList<IDisposable> _owned;

    /// <param name="path">The path as the user gave it.</param>
    /// <param name="kind">What kind of file it is, in words.</param>
    /// <param name="tensors">The tensors, names distinct, in file order.</param>
    /// <param name="metadata">String facts.</param>
    /// <param name="owned">What the tensors read from; disposed with the checkpoint.</param>
    public CheckpointFile(
        string path, string kind, IReadOnlyList<CheckpointTensor> tensors, IReadOnlyDictionary<string, string> metadata, params IReadOnlyList<IDisposable> owned)
    {
        Path = path;
        Kind = kind;
        Tensors = tensors;
        Metadata = metadata;
        _owned = owned;
        _byName = new Dictionary<string, CheckpointTensor>(tensors.Count, StringComparer.Ordinal);
        foreach (var tensor in tensors)
        {
            if (!_byName.TryAdd(tensor.Name, tensor)) throw new InvalidFileException(path, $"tensor {tensor.Name} occurs twice");
        }
    }

    /// <inheritdoc/>
    public string Path { get; }

    /// <inheritdoc/>
    public string Kind { get; }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <inheritdoc/>
    public IReadOnlyList<CheckpointTensor> Tensors { get; }

    /// <summary>Maps a file and reads it; the mapping does not outlive a failure.</summary>
    public static ICheckpoint Open(string path, Func<MappedFile, ICheckpoint> read, bool copies = false)
    {
        var mapping = MappedFile.Open(path, copies);
        try
        {
            return read(mapping);
        }
        catch
        {
            mapping.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public bool TryGet(string name, [NotNullWhen(true)] out CheckpointTensor? tensor) => _byName.TryGetValue(name, out tensor);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var item in _owned) item.Dispose();
    }
}
