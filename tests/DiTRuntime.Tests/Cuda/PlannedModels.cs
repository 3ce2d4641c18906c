using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Decoding;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>DiT-XL/2 with one block of zeros in any format, for plans: every block of the real model is like it.</summary>
internal static class PlannedModels
{
    /// <summary>"f16", or weights, activations and group: "w4a8-g128"; g0 is a group a row.</summary>
    public static DiTWeights DiTXL2(string format)
    {
        var config = DiTConfigs.Parse("DiT-XL/2") with { Depth = 1 };
        int hidden = config.HiddenSize, mlp = config.MlpSize;
        LinearWeight Layer(string name, int outputs, int inputs, bool takesTokens = true) =>
            format == "f16" ? new ZeroWeight(name, outputs, inputs) : Quantized(name, outputs, inputs, format, takesTokens);
        return new DiTWeights
        {
            Config = config,
            Checkpoint = new NoCheckpoint(),
            PatchEmbed = new ZeroWeight("x_embedder.proj", hidden, config.InChannels * config.PatchSize * config.PatchSize),
            Positions = new float[config.TokenCount * hidden],
            TimestepIn = new ZeroWeight("t_embedder.mlp.0", hidden, config.FrequencySize),
            TimestepOut = new ZeroWeight("t_embedder.mlp.2", hidden, hidden),
            LabelTable = new ZeroWeight("y_embedder.embedding_table", config.ClassCount + 1, hidden),
            Blocks =
            [
                new BlockWeights(
                    Layer("blocks.0.adaLN_modulation.1", 6 * hidden, hidden, takesTokens: false),
                    Layer("blocks.0.attn.qkv", 3 * hidden, hidden),
                    Layer("blocks.0.attn.proj", hidden, hidden),
                    Layer("blocks.0.mlp.fc1", mlp, hidden),
                    Layer("blocks.0.mlp.fc2", hidden, mlp)),
            ],
            FinalModulation = Layer("final_layer.adaLN_modulation.1", 2 * hidden, hidden, takesTokens: false),
            FinalLinear = new ZeroWeight("final_layer.linear", config.PatchSize * config.PatchSize * config.OutChannels, hidden),
            Labels = ClassLabels.Unknown,
        };
    }

    /// <summary>A narrow AutoencoderKL: the same kernels as the published one, but for the attention.</summary>
    public static IImageDecoder Decoder(IDiTBackend backend) => ImageDecoders.Open(TestFiles.Golden("vae"), backend);

    private static GroupWeight Quantized(string name, int outputs, int inputs, string format, bool takesTokens)
    {
        var group = int.Parse(format[(format.IndexOf('g', StringComparison.Ordinal) + 1)..], System.Globalization.CultureInfo.InvariantCulture);
        var bits = new GroupFormat(format[1] - '0', group);
        var activations = takesTokens && format.Contains("a8", StringComparison.Ordinal) ? new ActivationFormat(group) : null;
        return new GroupWeight(
            name, outputs, inputs, null, bits, new byte[outputs * bits.RowBytes(inputs)], new Half[outputs * bits.Grid(inputs).Count], new byte[bits.ZeroBytes(outputs, inputs)])
        {
            Activations = activations,
        };
    }

    private sealed class ZeroWeight(string name, int outputs, int inputs) : LinearWeight(name, outputs, inputs, null)
    {
        public override void CopyRows(int firstRow, int rowCount, Span<float> destination) => destination.Clear();
    }

    private sealed class NoCheckpoint : ICheckpoint
    {
        public string Path => "none";

        public string Kind => "none";

        public IReadOnlyDictionary<string, string> Metadata { get; } = new Dictionary<string, string>();

        public IReadOnlyList<CheckpointTensor> Tensors => [];

        public bool TryGet(string name, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out CheckpointTensor? tensor)
        {
            tensor = null;
            return false;
        }

        public void Dispose()
        {
        }
    }
}
