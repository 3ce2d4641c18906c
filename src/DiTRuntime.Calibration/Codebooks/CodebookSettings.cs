using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Codebooks;

/// <summary>When the codewords of product quantization are numbers into a pool.</summary>
public enum PoolUse
{
    /// <summary>Where that makes the layer smaller.</summary>
    Auto,

    /// <summary>Always.</summary>
    On,

    /// <summary>Never.</summary>
    Off,
}

/// <summary>What a training of codebooks runs through before each of its steps.</summary>
public enum TrainingScope
{
    /// <summary>The whole model, end to end.</summary>
    Model,

    /// <summary>One block on the teacher's inputs: bounded memory.</summary>
    Blocks,
}

/// <summary>What a quantization into codebooks shall do.</summary>
public sealed record CodebookSettings
{
    /// <summary>Weights of a layer outside the blocks from which on a codebook is worth it; smaller ones are packed in 8 bits, which costs less than 48 KiB more.</summary>
    private const int MinOuterWeights = 1 << 16;

    /// <summary>Bits of a weight that codebooks or pool and table may take beside the codes, where positions can share: DPQ's own count for DiT-XL/2 is 0.28.</summary>
    private const double MaxBookBits = 0.3;

    /// <summary>Vectors that a codeword stands for at least; of smaller layers the codebooks are smaller (as in the published code of VQ4DiT).</summary>
    private const int MinVectorsPerCodeword = 4;

    /// <summary>k: codewords of a codebook, where the layer has enough vectors.</summary>
    public required int CodebookSize { get; init; }

    /// <summary>d: weights of a vector.</summary>
    public required int VectorLength { get; init; }

    /// <summary>Whether every position along the row has a codebook of its own (DPQ), and not all rows one (three for q, k and v; VQ4DiT).</summary>
    public bool IsProduct { get; init; }

    /// <summary>Whether a layer's positions share one codebook where books of their own would take more than <see cref="MaxBookBits"/>; product quantization only.</summary>
    public bool TiesPositions { get; init; }

    /// <summary>When codewords are numbers into a pool; product quantization only.</summary>
    public PoolUse Pool { get; init; } = PoolUse.Off;

    /// <summary>Whether every row has a scale.</summary>
    public bool HasRowScales { get; init; }

    /// <summary>n: codewords that a vector chooses among while it is trained.</summary>
    public int Candidates { get; init; } = 2;

    /// <summary>What a training starts from: <see cref="Quantizing.QuantizeMethod.KMeans"/> or <see cref="Quantizing.QuantizeMethod.Gptvq"/>.</summary>
    public Quantizing.QuantizeMethod Start { get; init; } = Quantizing.QuantizeMethod.KMeans;

    /// <summary>Iterations of the training, or null for the method's own number.</summary>
    public int? Iterations { get; init; }

    /// <summary>What a step of the training runs through.</summary>
    public TrainingScope Training { get; init; }

    /// <summary>The user's samples to train on, or null to be taught by the model.</summary>
    public string? DataPath { get; init; }

    /// <summary>k and d that the papers take for so many bits a weight: 3 is k = 64, d = 2; 2 is k = 256, d = 4; 1 is k = 256, d = 8; and 4 is k = 256, d = 2.</summary>
    /// <exception cref="UsageException">Other bits.</exception>
    public static (int CodebookSize, int VectorLength) SizesFor(int weightBits) => weightBits switch
    {
        1 => (256, 8),
        2 => (256, 4),
        3 => (64, 2),
        4 => (256, 2),
        _ => throw new UsageException($"--wbits {weightBits}: codebooks have 1, 2, 3 or 4; --k and --d give all others"),
    };

    /// <summary>The format of a layer, or null for one that is not packed.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="activations">Form of the inputs of layers that read tokens.</param>
    /// <param name="activationGroup">Group size of quantized ones.</param>
    /// <param name="packAll">Whether layers outside the blocks are packed.</param>
    internal LayerFormat? FormatOf(DiTLayer layer, ActivationMode activations, int activationGroup, bool packAll)
    {
        if (!layer.IsInBlock)
        {
            if (!packAll) return null;
            if (layer.Inputs % VectorLength != 0 || (long)layer.Shape[0] * layer.Inputs < MinOuterWeights) return new LayerFormat(new GroupFormat(PackedModelPlan.OuterBits, 0));
        }

        var isQuantized = layer.ReadsTokens && activations != ActivationMode.Float;
        return new LayerFormat(WeightsOf(layer), isQuantized ? activations : ActivationMode.Float, isQuantized ? activationGroup : 0);
    }

    /// <summary>Adds all that the codes follow from to a record.</summary>
    internal void Write(JsonObject json, bool trains)
    {
        json["k"] = CodebookSize;
        json["d"] = VectorLength;
        json["layout"] = IsProduct ? TiesPositions ? "auto" : "product" : "codebook";
        json["row_scales"] = HasRowScales;
        if (IsProduct) json["pool"] = Pool.ToString().ToLowerInvariant();
        if (!trains) return;
        json["init"] = Start.ToString().ToLowerInvariant();
        json["candidates"] = Candidates;
        json["iterations"] = Iterations;
        json["training"] = Training.ToString().ToLowerInvariant();
        if (DataPath is not null) json["data"] = $"{Path.GetFileName(DataPath)} sha256 {DataHash(DataPath)}";
    }

    /// <summary>SHA-256 of a file, or of the names and contents of a folder's files in the order of their names.</summary>
    /// <exception cref="InvalidFileException">It cannot be read.</exception>
    private static string DataHash(string path)
    {
        try
        {
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            var isFolder = Directory.Exists(path);
            foreach (var file in isFolder ? Directory.GetFiles(path).Order(StringComparer.Ordinal).ToArray() : [path])
            {
                if (isFolder) hash.AppendData(Encoding.UTF8.GetBytes(Path.GetFileName(file) + "\n"));
                using var stream = File.OpenRead(file);
                hash.AppendData(SHA256.HashData(stream));
            }

            return Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidFileException(path, $"the data cannot be read ({e.Message})", e);
        }
    }

    private CodebookFormat WeightsOf(DiTLayer layer)
    {
        if (!IsProduct) return Shared(layer);
        var format = PerPosition(layer);
        return TiesPositions && format.Tensors(layer.Name, layer.Shape[0], layer.Inputs).Skip(1).Sum(tensor => 8.0 * tensor.ByteCount) > MaxBookBits * layer.Shape[0] * layer.Inputs ? Shared(layer) : format;
    }

    /// <summary>One codebook for all rows; three for q, k and v.</summary>
    private CodebookFormat Shared(DiTLayer layer)
    {
        var parts = layer.Name.EndsWith(".attn.qkv", StringComparison.Ordinal) ? 3 : 1;
        return Sized((long)layer.Shape[0] / parts * (layer.Inputs / VectorLength)) with { Parts = parts };
    }

    /// <summary>A codebook for each position, through a pool where that is wanted.</summary>
    private CodebookFormat PerPosition(DiTLayer layer)
    {
        var outputs = layer.Shape[0];
        var format = Sized(outputs) with { IsProduct = true };
        if (Pool == PoolUse.Off) return format;
        // The pool takes 1/d bit a weight (DPQ, section 3.2).
        var entries = (long)format.BookCount(layer.Inputs) * format.CodebookSize;
        var poolSize = (int)Math.Min(entries, ((long)outputs * layer.Inputs + 16 * VectorLength * VectorLength - 1) / (16 * VectorLength * VectorLength));
        return Pool == PoolUse.On || format.PoolIsSmaller(layer.Inputs, poolSize) ? format with { PoolSize = poolSize } : format;
    }

    /// <summary>k as asked for, or less where so many vectors cannot bear it.</summary>
    private CodebookFormat Sized(long vectors)
    {
        var most = vectors < MinVectorsPerCodeword * CodebookFormat.MinCodebookSize ? CodebookFormat.MinCodebookSize : 1L << BitOperations.Log2((ulong)(vectors / MinVectorsPerCodeword));
        return new CodebookFormat((int)Math.Min(CodebookSize, most), VectorLength) { HasRowScales = HasRowScales };
    }
}
