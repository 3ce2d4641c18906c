using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>
/// Layers and models of random weights in memory. Quantized ones have random codes, not rounded weights: the same work for a kernel, at no cost to make. Layers of one
/// shape share their values; on the device each has memory of its own.
/// </summary>
internal sealed class SyntheticLayers
{
    /// <summary>Values that rows of dense weights begin in.</summary>
    private const int TableStarts = 1 << 17;

    private readonly Dictionary<(int Inputs, float Gain), float[]> _tables = [];
    private readonly Dictionary<(int Outputs, int Inputs, GroupFormat Format), (byte[] Codes, Half[] Scales, byte[] Zeros)> _groups = [];
    private readonly Dictionary<(int Outputs, int Inputs, CodebookFormat Format), CodebookBytes> _books = [];

    /// <summary>A layer whose outputs are about as large as its inputs.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="outputs">N.</param>
    /// <param name="inputs">K.</param>
    /// <param name="format">How it is stored.</param>
    /// <param name="gain">Size of the outputs.</param>
    public LinearWeight Make(string name, int outputs, int inputs, LayerFormat format, float gain = 1)
    {
        var bias = Values(outputs, 7, 0.02f);
        if (format.Weights is CodebookFormat books) return Codebook(name, outputs, inputs, bias, format, books, gain);
        if (format.Weights is not GroupFormat groups) return new TableWeight(name, outputs, inputs, bias, Table(inputs, gain));
        var (codes, scales, zeros) = Groups(outputs, inputs, groups, gain);
        return new GroupWeight(name, outputs, inputs, bias, groups, codes, scales, zeros)
        {
            Activations = format.Activations == ActivationMode.Float ? null : new ActivationFormat(groups.GroupSize),
        };
    }

    /// <summary>A whole model: layers stored as a packed file would.</summary>
    /// <param name="config">The architecture.</param>
    /// <param name="format">Of the layers that read tokens; the modulation has the same weights and halves as its input.</param>
    /// <param name="packsFinalModulation">Whether the final layer's modulation is packed too, as --pack-all does.</param>
    public DiTWeights Model(DiTConfig config, LayerFormat format, bool packsFinalModulation = false)
    {
        var (hidden, patch) = (config.HiddenSize, config.PatchSize * config.PatchSize);
        var modulation = format with { Activations = ActivationMode.Float };
        return new DiTWeights
        {
            Config = config,
            Checkpoint = new NoFile(),
            Positions = PositionEmbedding.Compute(hidden, config.InputSize / config.PatchSize),
            PatchEmbed = Make("x_embedder.proj", hidden, config.InChannels * patch, LayerFormat.Dense),
            TimestepIn = Make("t_embedder.mlp.0", hidden, config.FrequencySize, LayerFormat.Dense),
            TimestepOut = Make("t_embedder.mlp.2", hidden, hidden, LayerFormat.Dense),
            LabelTable = Make("y_embedder.embedding_table", config.ClassCount + 1, hidden, LayerFormat.Dense),
            Blocks = [.. Enumerable.Range(0, config.Depth).Select(i => new BlockWeights(
                // Small gates keep the residual stream from growing with depth.
                Make($"blocks.{i}.adaLN_modulation.1", 6 * hidden, hidden, modulation, 0.25f),
                Make($"blocks.{i}.attn.qkv", 3 * hidden, hidden, format),
                Make($"blocks.{i}.attn.proj", hidden, hidden, format),
                Make($"blocks.{i}.mlp.fc1", config.MlpSize, hidden, format),
                Make($"blocks.{i}.mlp.fc2", hidden, config.MlpSize, format)))],
            FinalModulation = Make("final_layer.adaLN_modulation.1", 2 * hidden, hidden, packsFinalModulation ? modulation : LayerFormat.Dense, 0.25f),
            FinalLinear = Make("final_layer.linear", patch * config.OutChannels, hidden, LayerFormat.Dense),
            Labels = ClassLabels.Unknown,
        };
    }

    /// <summary>Random halves, as floats: what a GPU and a processor read alike.</summary>
    /// <param name="count">How many.</param>
    /// <param name="seed">The same seed, the same values.</param>
    /// <param name="deviation">Their standard deviation.</param>
    public static float[] Values(int count, int seed, float deviation = 1)
    {
        var random = new Random(seed);
        var values = new float[count];
        // A sum of three uniform numbers has a variance of a quarter, and is nearly normal.
        foreach (ref var value in values.AsSpan()) value = (float)(Half)(2 * deviation * (random.NextSingle() + random.NextSingle() + random.NextSingle() - 1.5f));
        return values;
    }

    private float[] Table(int inputs, float gain)
    {
        if (!_tables.TryGetValue((inputs, gain), out var table)) _tables.Add((inputs, gain), table = Values(TableStarts + inputs, 11, gain / MathF.Sqrt(inputs)));
        return table;
    }

    private (byte[] Codes, Half[] Scales, byte[] Zeros) Groups(int outputs, int inputs, GroupFormat format, float gain)
    {
        if (_groups.TryGetValue((outputs, inputs, format), out var group)) return group;
        var random = new Random(outputs ^ inputs);
        var codes = new byte[outputs * format.RowBytes(inputs)];
        random.NextBytes(codes);
        var count = outputs * format.Grid(inputs).Count;
        // Codes are spread evenly over their range: a deviation of that over √12.
        var scale = gain * MathF.Sqrt(12) / (format.MaxCode * MathF.Sqrt(inputs));
        var (scales, zeros) = (new Half[count], new byte[count]);
        for (var i = 0; i < count; i++)
        {
            scales[i] = (Half)(scale * (0.8f + 0.4f * random.NextSingle()));
            zeros[i] = (byte)(format.MaxCode / 2 + random.Next(2));
        }

        var packed = new byte[format.ZeroBytes(outputs, inputs)];
        BitPacking.Pack(zeros, format.Bits, packed);
        group = (codes, scales, packed);
        _groups.Add((outputs, inputs, format), group);
        return group;
    }

    /// <summary>Codes of random codewords; q, k and v have a codebook each.</summary>
    private CodebookWeight Codebook(string name, int outputs, int inputs, float[] bias, LayerFormat layer, CodebookFormat format, float gain)
    {
        if (!format.IsProduct && name.EndsWith("qkv", StringComparison.Ordinal)) format = format with { Parts = 3 };
        if (!_books.TryGetValue((outputs, inputs, format), out var bytes)) _books.Add((outputs, inputs, format), bytes = MakeBooks(outputs, inputs, format, gain));
        return new CodebookWeight(name, outputs, inputs, bias, format, bytes.Codes, bytes.Vectors, bytes.Table, bytes.Scales)
        {
            Activations = layer.Activations == ActivationMode.Float ? null : new ActivationFormat(layer.CodebookGroup),
        };
    }

    private static CodebookBytes MakeBooks(int outputs, int inputs, CodebookFormat format, float gain)
    {
        var random = new Random(outputs ^ inputs);
        var (rowBytes, row) = (format.RowBytes(inputs), new ushort[format.VectorsPerRow(inputs)]);
        var codes = new byte[outputs * rowBytes];
        for (var n = 0; n < outputs; n++)
        {
            for (var j = 0; j < row.Length; j++) row[j] = (ushort)random.Next(format.CodebookSize);
            BitPacking.Pack(row, format.CodeBits, codes.AsSpan(n * rowBytes, rowBytes));
        }

        var entries = format.BookCount(inputs) * format.CodebookSize;
        var vectors = Array.ConvertAll(Values((format.PoolSize == 0 ? entries : format.PoolSize) * format.VectorLength, 17, gain / MathF.Sqrt(inputs)), value => (Half)value);
        var table = new byte[format.PoolSize == 0 ? 0 : entries * format.TableType.ByteSize()];
        for (var i = 0; i < table.Length; i += format.TableType.ByteSize()) BitConverter.TryWriteBytes(table.AsSpan(i), (ushort)random.Next(Math.Min(format.PoolSize, 1 << 16)));
        var scales = new Half[format.HasRowScales ? outputs : 0];
        for (var i = 0; i < scales.Length; i++) scales[i] = (Half)(0.8f + 0.4f * random.NextSingle());
        return new(new(codes), new(MemoryMarshal.AsBytes<Half>(vectors)), new(table), new(MemoryMarshal.AsBytes<Half>(scales)));
    }

    private sealed record CodebookBytes(StoredBytes Codes, StoredBytes Vectors, StoredBytes Table, StoredBytes Scales);

    /// <summary>A dense weight whose rows are stretches of one table.</summary>
    private sealed class TableWeight(string name, int outputs, int inputs, float[] bias, float[] table) : LinearWeight(name, outputs, inputs, bias)
    {
        public override void CopyRows(int firstRow, int rowCount, Span<float> destination)
        {
            for (var row = 0; row < rowCount; row++)
                // A large prime apart, so that neighbours share nothing.
                table.AsSpan((int)((firstRow + row) * 7919L % TableStarts), Inputs).CopyTo(destination[(row * Inputs)..]);
        }
    }

    /// <summary>Stands where a model's file would.</summary>
    private sealed class NoFile : ICheckpoint
    {
        public string Path => "synthetic";

        public string Kind => "synthetic";

        public IReadOnlyDictionary<string, string> Metadata { get; } = new Dictionary<string, string>();

        public IReadOnlyList<CheckpointTensor> Tensors => [];

        public bool TryGet(string name, [NotNullWhen(true)] out CheckpointTensor? tensor)
        {
            tensor = null;
            return false;
        }

        public void Dispose()
        {
            // Nothing is open.
        }
    }
}
