using System.Text;
using System.Text.Json;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Checkpoints;

/// <summary>A DiT of a few thousand weights in every file type, so that thousands of damaged copies take seconds.</summary>
internal static class MiniatureDiT
{
    /// <summary>The architecture.</summary>
    public static DiTConfig Config { get; } = new()
    {
        InputSize = 4, PatchSize = 2, InChannels = 1, OutChannels = 2, HiddenSize = 8, Depth = 2, HeadCount = 2, MlpSize = 8, ClassCount = 2, FrequencySize = 4,
    };

    public static byte[] Safetensors(bool diffusers = false)
    {
        using var stream = new MemoryStream();
        SafetensorsWriter.Write(stream, new Dictionary<string, string> { ["config"] = """{"num_heads":2,"input_size":4}""" }, [.. Tensors(diffusers)]);
        return stream.ToArray();
    }

    /// <summary>Of 3 bits with a ragged last group and quantized inputs; the layers outside the blocks in floating point, or packed as well.</summary>
    public static byte[] Packed(bool packAll)
    {
        using var folder = new TestFolder();
        using var source = DiTWeightsLoader.Load(folder.Write("source.safetensors", Safetensors()));
        var plan = PackedModelPlan.Uniform(Config, new GroupFormat(3, 3), packAll ? ActivationMode.Static : ActivationMode.Dynamic, packAll);
        return File.ReadAllBytes(PackedFiles.Write(folder["packed.safetensors"], source, plan));
    }

    /// <summary>Flat, or the training script's {"model", "ema", "opt", "args"}.</summary>
    public static byte[] Zip(bool training)
    {
        TensorValues[] tensors = [.. Tensors(diffusers: false)];
        void State(PickleWriter writer)
        {
            writer.OrderedDictionary().Op('(');
            for (var i = 0; i < tensors.Length; i++)
            {
                long[] shape = [.. tensors[i].Description.Shape.Select(extent => (long)extent)];
                long[] strides = [.. shape.Select((_, axis) => shape[(axis + 1)..].Aggregate(1L, (a, b) => a * b))];
                writer.Text(tensors[i].Description.Name).Tensor("FloatStorage", $"{i}", tensors[i].Description.Count, 0, shape, strides).Op('q').Op((byte)i);
            }

            writer.Op('u');
        }

        var pickle = new PickleWriter();
        if (training)
        {
            pickle.Dictionary(("model", w => w.Dictionary(("a", v => v.Number(1)))), ("ema", State), ("opt", w => w.Op(']').Number(300).Op('a')),
                ("args", w => w.Global("argparse", "Namespace").Op(')').Op(0x81).Dictionary(("lr", v => v.Number(1))).Op('b')));
        }
        else
        {
            State(pickle);
        }

        return ZipWriter.Checkpoint(pickle.ToArray(), [.. tensors.Select((t, i) => ($"{i}", t.Bytes.ToArray()))]);
    }

    public static byte[] Gguf()
    {
        var writer = new GgufWriter().Fact("general.architecture", "dit").Fact("config", """{"num_heads":2}""")
            .Fact("list", 9, w =>
            {
                w.Write(4u);
                w.Write(2L);
                w.Write(7L);
            });
        foreach (var tensor in Tensors(diffusers: false))
            writer.Tensor(tensor.Description.Name, [.. tensor.Description.Shape.Select(extent => (long)extent)], 0, tensor.Bytes.ToArray());
        return writer.ToArray();
    }

    /// <summary>An index that places every tensor in one shard.</summary>
    public static byte[] Index(string shard) =>
        JsonSerializer.SerializeToUtf8Bytes(new { metadata = new { total_size = 1 }, weight_map = Tensors(diffusers: false).ToDictionary(t => t.Description.Name, _ => shard) });

    /// <summary>A diffusers config.json.</summary>
    public static byte[] DiffusersConfig() =>
        Encoding.UTF8.GetBytes("""{"num_attention_heads":2,"attention_head_dim":4,"num_layers":2,"patch_size":2,"sample_size":4,"in_channels":1,"norm_type":"ada_norm_zero"}""");

    /// <summary>A diffusers model_index.json.</summary>
    public static byte[] ModelIndex() => Encoding.UTF8.GetBytes("""{"_class_name":"DiTPipeline","id2label":{"0":"cat, tabby","1":"dog \u00e9"}}""");

    private static IEnumerable<TensorValues> Tensors(bool diffusers) => (diffusers ? DiTLayout.Diffusers : DiTLayout.Official).Tensors(Config)
        .Select(t => TensorValues.Of(t.Name, t.Shape, [.. Enumerable.Range(0, t.Shape.Aggregate(1, (a, b) => a * b)).Select(i => i % 7 * 0.1f)]));
}
