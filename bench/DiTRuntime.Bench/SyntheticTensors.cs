using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Bench;

/// <summary>A checkpoint of any names and shapes whose tensors all show the same random values: for timing, where values do not matter.</summary>
internal sealed class SyntheticTensors : ICheckpoint
{
    private readonly MappedFile _file;
    private readonly Dictionary<string, CheckpointTensor> _tensors;

    public SyntheticTensors(IEnumerable<(string Name, int[] Shape)> tensors)
        : this(tensors.Select(t => new TensorDescription(t.Name, ElementType.F32, t.Shape)), new Dictionary<string, string>())
    {
    }

    public SyntheticTensors(IEnumerable<TensorDescription> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        var list = tensors.ToList();
        Metadata = metadata;
        var longest = list.Max(t => t.Count);
        var random = new Random(1);
        var values = new float[longest];
        foreach (ref var value in values.AsSpan()) value = 0.04f * (random.NextSingle() - 0.5f);
        var halves = Array.ConvertAll(values, value => (Half)value);
        var scales = new Half[longest];
        Array.Fill(scales, (Half)0.003f);
        var bytes = new byte[longest];
        random.NextBytes(bytes);

        var path = System.IO.Path.GetTempFileName();
        using (var stream = File.OpenWrite(path))
        {
            stream.Write(MemoryMarshal.AsBytes<float>(values));
            stream.Write(MemoryMarshal.AsBytes<Half>(halves));
            stream.Write(MemoryMarshal.AsBytes<Half>(scales));
            stream.Write(bytes);
        }

        _file = MappedFile.Open(path);
        File.Delete(path);
        Tensors = [.. list.Select(t => new CheckpointTensor(_file, t.Name, t.Type, [.. t.Shape], longest * OffsetOf(t)))];
        _tensors = Tensors.ToDictionary(t => t.Name);
    }

    public string Path => "synthetic";

    public string Kind => "synthetic";

    public IReadOnlyDictionary<string, string> Metadata { get; }

    public IReadOnlyList<CheckpointTensor> Tensors { get; }

    /// <summary>The decoder of sd-vae-ft-mse: 49.5 million weights.</summary>
    public static SyntheticTensors AutoencoderKl()
    {
        int[] widths = [512, 512, 256, 128];
        var tensors = new List<(string Name, int[] Shape)>();
        Layer("post_quant_conv", 4, 4, 1, 1);
        Layer("decoder.conv_in", 512, 4, 3, 3);
        Block("decoder.mid_block.resnets.0", 512, 512);
        Block("decoder.mid_block.resnets.1", 512, 512);
        Layer("decoder.mid_block.attentions.0.group_norm", 512);
        foreach (var part in (string[])["to_q", "to_k", "to_v", "to_out.0"]) Layer($"decoder.mid_block.attentions.0.{part}", 512, 512);
        for (var level = 0; level < 4; level++)
        {
            for (var block = 0; block < 3; block++)
                Block($"decoder.up_blocks.{level}.resnets.{block}", widths[level], widths[block == 0 && level > 0 ? level - 1 : level]);
            if (level < 3) Layer($"decoder.up_blocks.{level}.upsamplers.0.conv", widths[level], widths[level], 3, 3);
        }

        Layer("decoder.conv_norm_out", 128);
        Layer("decoder.conv_out", 3, 128, 3, 3);
        return new SyntheticTensors(tensors);

        void Layer(string name, params int[] shape)
        {
            tensors.Add(($"{name}.weight", shape));
            tensors.Add(($"{name}.bias", [shape[0]]));
        }

        void Block(string name, int outputs, int inputs)
        {
            Layer($"{name}.norm1", inputs);
            Layer($"{name}.conv1", outputs, inputs, 3, 3);
            Layer($"{name}.norm2", outputs);
            Layer($"{name}.conv2", outputs, outputs, 3, 3);
            if (outputs != inputs) Layer($"{name}.conv_shortcut", outputs, inputs, 1, 1);
        }
    }

    public bool TryGet(string name, [NotNullWhen(true)] out CheckpointTensor? tensor) => _tensors.TryGetValue(name, out tensor);

    public void Dispose() => _file.Dispose();

    /// <summary>Where values of the tensor's kind begin, in units of the longest tensor: floats, halves, scales, bytes.</summary>
    private static long OffsetOf(TensorDescription tensor) => tensor.Type switch
    {
        ElementType.F32 => 0,
        ElementType.F16 => tensor.Name.EndsWith(".scale", StringComparison.Ordinal) ? 6 : 4,
        _ => 8,
    };
}
