using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Models;

/// <summary>Copies of golden checkpoints with something changed.</summary>
internal static class TensorFiles
{
    /// <summary>All tensors of a checkpoint, in memory as fp32.</summary>
    public static List<TensorValues> Read(string path)
    {
        using var checkpoint = Checkpoint.Open(path);
        return [.. checkpoint.Tensors.Select(t => TensorValues.Of(t.Name, t.Shape.ToArray(), t.ToArray()))];
    }

    /// <summary>Writes tensors as safetensors.</summary>
    public static string Write(string path, IReadOnlyList<TensorValues> tensors, string? config = null)
    {
        var metadata = new Dictionary<string, string>();
        if (config is not null) metadata["config"] = config;
        AtomicFile.Write(path, stream => SafetensorsWriter.Write(stream, metadata, tensors));
        return path;
    }

    /// <summary>Replaces a tensor by one of another shape and other values.</summary>
    public static void Replace(this List<TensorValues> tensors, string name, int[] shape, params float[] values)
    {
        tensors.RemoveAll(t => t.Description.Name == name);
        tensors.Add(TensorValues.Of(name, shape, values.Length > 0 ? values : new float[shape.Aggregate(1, (a, b) => a * b)]));
    }
}
