using System.Numerics.Tensors;

namespace DiTRuntime.Checkpoints;

/// <summary>Weights must be numbers.</summary>
internal static class Finite
{
    /// <exception cref="InvalidFileException">A value is NaN or infinite; the tensor is named.</exception>
    public static void Check(ReadOnlySpan<float> values, CheckpointTensor source)
    {
        if (values.IsEmpty || TensorPrimitives.IsFiniteAll(values)) return;
        var bad = 0;
        while (float.IsFinite(values[bad])) bad++;
        throw new InvalidFileException(source.File, $"tensor {source.Name} holds {values[bad]}; weights must be finite");
    }
}
