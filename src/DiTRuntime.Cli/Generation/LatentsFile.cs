using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Generation;

/// <summary>
/// The safetensors file of --save-latents and --latents: `latents` F32 [n, C, S, S] as the sampler left them, and
/// `noise`, the same shape, as it found them.
/// </summary>
internal static class LatentsFile
{
    private const string LatentsName = "latents";
    private const string NoiseName = "noise";

    /// <summary>Reads latents to start from: `noise` where the file has it (a run is repeated), else `latents`.</summary>
    /// <returns>[n·C·S·S], and n.</returns>
    /// <exception cref="InvalidFileException">Neither tensor, another shape than the model's, or values that are not finite.</exception>
    public static (float[] Values, int Count) Read(string path, DiTConfig config)
    {
        using var file = new TensorFile(path);
        var name = file.Has(NoiseName) ? NoiseName : LatentsName;
        var values = file.Read(name, null, config.InChannels, config.InputSize, config.InputSize);
        return (values, values.Length / config.LatentCount);
    }

    /// <summary>Writes the file whole or not at all.</summary>
    public static void Write(string path, DiTConfig config, IReadOnlyList<float[]> latents, IReadOnlyList<float[]> noise)
    {
        int[] shape = [latents.Count, config.InChannels, config.InputSize, config.InputSize];
        TensorDescription[] tensors = [new(LatentsName, ElementType.F32, shape), new(NoiseName, ElementType.F32, shape)];
        AtomicFile.Write(path, stream => SafetensorsWriter.Write(stream, new Dictionary<string, string>(), tensors, (tensor, output) =>
        {
            foreach (var image in tensor.Name == LatentsName ? latents : noise) output.Write(MemoryMarshal.AsBytes<float>(image));
        }));
    }
}
