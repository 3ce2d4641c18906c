using DiTRuntime.Checkpoints;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Calibration.Evaluation;

/// <summary>Copies of the golden model with one weight changed.</summary>
internal static class DisturbedModels
{
    /// <summary>Adds noise of a share of the weight's own size to it.</summary>
    public static string Write(string path, string name, float amount)
    {
        var tensors = TensorFiles.Read(TestFiles.Golden("tiny/official.safetensors"));
        using (var checkpoint = Checkpoint.Open(TestFiles.Golden("tiny/official.safetensors")))
        {
            checkpoint.TryGet(name, out var tensor);
            var random = new Random(1);
            float[] values = [.. tensor!.ToArray().Select(v => v * (1 + amount * ((float)random.NextDouble() - 0.5f)))];
            tensors.Replace(name, tensor.Shape.ToArray(), values);
        }

        return TensorFiles.Write(path, tensors);
    }
}
