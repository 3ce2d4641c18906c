using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Bench;

/// <summary>Random packed weights in a mapped file of their own, as a model's lie: for timing.</summary>
internal sealed class SyntheticGroupWeight : IDisposable
{
    private readonly MappedFile _file;

    public SyntheticGroupWeight(int outputs, int inputs, GroupFormat format, ActivationFormat? activations)
    {
        var groups = format.Grid(inputs).Count;
        var codes = new byte[outputs * format.RowBytes(inputs)];
        var zeros = new byte[format.ZeroBytes(outputs, inputs)];
        var random = new Random(1);
        random.NextBytes(codes);
        random.NextBytes(zeros);
        var scales = new Half[outputs * groups];
        Array.Fill(scales, (Half)0.003f);
        var path = Path.GetTempFileName();
        File.WriteAllBytes(path, [.. codes, .. MemoryMarshal.AsBytes<Half>(scales), .. zeros]);
        _file = MappedFile.Open(path);
        File.Delete(path);
        Weight = new GroupWeight(
            "layer", outputs, inputs, new float[outputs], format,
            new CheckpointTensor(_file, "layer.qweight", ElementType.U8, [outputs, format.RowBytes(inputs)], 0),
            new CheckpointTensor(_file, "layer.scale", ElementType.F16, [outputs, groups], codes.Length),
            new CheckpointTensor(_file, "layer.zero", ElementType.U8, [zeros.Length], codes.Length + 2L * scales.Length)) { Activations = activations };
    }

    public GroupWeight Weight { get; }

    public void Dispose() => _file.Dispose();
}
