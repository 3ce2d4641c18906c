using System.Text.Json;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>How a packed weight is stored: in groups with scales and zero points (<see cref="GroupFormat"/>), or as codes of codebooks (<see cref="CodebookFormat"/>).</summary>
public abstract record WeightFormat
{
    /// <summary>The format's name in a packed file.</summary>
    public abstract string Kind { get; }

    /// <summary>Bits of a code.</summary>
    public abstract int CodeBits { get; }

    /// <summary>What people call the granularity: "g128", "per row", "k256 d4".</summary>
    internal abstract string Granularity { get; }

    /// <summary>Bits per weight that the codes take, as people write it: "4", "2", "1.5".</summary>
    internal abstract string WeightBits { get; }

    /// <summary>The tensors of a weight [outputs, inputs], one by one: when a later one is described, the earlier ones have been found in the file.</summary>
    internal abstract IEnumerable<TensorDescription> Tensors(string name, int outputs, int inputs);

    /// <summary>Writes the properties of the layer's entry.</summary>
    internal abstract void Write(Utf8JsonWriter json, int inputs);

    /// <summary>Why no weight [outputs, inputs] can be stored so, or null.</summary>
    internal abstract string? Problem(int outputs, int inputs);
}
