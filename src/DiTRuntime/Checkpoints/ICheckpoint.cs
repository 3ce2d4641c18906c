using System.Diagnostics.CodeAnalysis;

namespace DiTRuntime.Checkpoints;

/// <summary>A model file, opened: names and tensors, memory-mapped, whatever the file type.</summary>
public interface ICheckpoint : IDisposable
{
    /// <summary>The path as the user gave it; errors name it.</summary>
    string Path { get; }

    /// <summary>What kind of file it is, in words: "safetensors", "PyTorch zip", "GGUF v3", "diffusers pipeline".</summary>
    string Kind { get; }

    /// <summary>String facts the file carries beside its tensors (safetensors <c>__metadata__</c>, GGUF key-values).</summary>
    IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Every tensor, in file order.</summary>
    IReadOnlyList<CheckpointTensor> Tensors { get; }

    /// <summary>Finds a tensor by its name in the file.</summary>
    bool TryGet(string name, [NotNullWhen(true)] out CheckpointTensor? tensor);
}
