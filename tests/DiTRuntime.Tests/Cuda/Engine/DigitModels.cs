using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary>The built-in digit model as it is and packed by rounding, made once for all tests.</summary>
internal static class DigitModels
{
    private static readonly Dictionary<string, string> s_files = [];
    private static readonly Dictionary<(string Layer, LayerFormat Format), CodebookWeight> s_codebooks = [];
    private static readonly string s_folder = Directory.CreateTempSubdirectory("dit-engine-").FullName;

    static DigitModels() => AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(s_folder, recursive: true);

    /// <summary>"f16", or weights, activations and group: "w4a8-g96"; g0 is a group a row; or codebooks as of <see cref="PlannedModels.Packed"/>, of every layer with "all".</summary>
    public static DiTWeights Open(string format) =>
        format.Contains('k', StringComparison.Ordinal) ? WithCodebooks(PlannedModels.Packed(format), format.EndsWith("all", StringComparison.Ordinal))
        : DiTWeightsLoader.Load(format == "f16" ? TestFiles.DigitModel : Packed(format));

    /// <summary>The model with codebooks whose codewords are every so-manieth vector of a layer: a poor model, and the same one everywhere.</summary>
    private static DiTWeights WithCodebooks(LayerFormat format, bool all)
    {
        var dense = DiTWeightsLoader.Load(TestFiles.DigitModel);
        var weightOnly = format with { Activations = ActivationMode.Float };
        LinearWeight Other(LinearWeight layer) => all ? Codebook(layer, weightOnly) : layer;
        return new DiTWeights
        {
            Config = dense.Config,
            Checkpoint = dense.Checkpoint,
            Positions = dense.Positions,
            Labels = dense.Labels,
            PatchEmbed = Other(dense.PatchEmbed),
            TimestepIn = Other(dense.TimestepIn),
            TimestepOut = Other(dense.TimestepOut),
            LabelTable = Other(dense.LabelTable),
            FinalModulation = Other(dense.FinalModulation),
            FinalLinear = Other(dense.FinalLinear),
            Blocks = [.. dense.Blocks.Select(block => new BlockWeights(
                Codebook(block.Modulation, weightOnly), Codebook(block.Qkv, format, 3), Codebook(block.Projection, format), Codebook(block.Fc1, format), Codebook(block.Fc2, format)))],
        };
    }

    private static CodebookWeight Codebook(LinearWeight layer, LayerFormat format, int parts = 1)
    {
        if (s_codebooks.TryGetValue((layer.Name, format), out var made)) return made;
        var books = (CodebookFormat)format.Weights!;
        var (d, positions) = (books.VectorLength, layer.Inputs / books.VectorLength);
        if (!books.IsProduct) books = books with { Parts = parts, CodebookSize = Math.Min(books.CodebookSize, layer.Outputs * positions / parts) };
        else books = books with { CodebookSize = Math.Min(books.CodebookSize, layer.Outputs) };
        var (k, bookCount) = (books.CodebookSize, books.BookCount(layer.Inputs));
        var rows = new float[layer.Outputs * layer.Inputs];
        layer.CopyRows(0, layer.Outputs, rows);
        // The vectors of book b are those of rows n and positions j with this number.
        int BookOf(int n, int j) => books.IsProduct ? j : n / (layer.Outputs / books.Parts);
        var members = Enumerable.Range(0, layer.Outputs * positions).ToLookup(v => BookOf(v / positions, v % positions));
        var vectors = new Half[bookCount * k * d];
        for (var b = 0; b < bookCount; b++)
        {
            var own = members[b].ToArray();
            for (var c = 0; c < k; c++)
                for (var i = 0; i < d; i++) vectors[(b * k + c) * d + i] = (Half)rows[own[c * own.Length / k] * d + i];
        }

        var floats = Array.ConvertAll(vectors, v => (float)v);
        var codes = new ushort[layer.Outputs * positions];
        Parallel.For(0, codes.Length, v =>
        {
            var (first, best, least) = (BookOf(v / positions, v % positions) * k, 0, float.PositiveInfinity);
            for (var c = 0; c < k; c++)
            {
                var distance = System.Numerics.Tensors.TensorPrimitives.Distance(rows.AsSpan(v * d, d), floats.AsSpan((first + c) * d, d));
                if (distance < least) (best, least) = (c, distance);
            }

            codes[v] = (ushort)best;
        });
        var activations = format.Activations == ActivationMode.Float ? null : new ActivationFormat(format.CodebookGroup);
        return s_codebooks[(layer.Name, format)] = CodebookWeight.Pack(layer.Name, layer.Outputs, layer.Inputs, layer.Bias, books, codes, vectors, activations: activations);
    }

    private static string Packed(string format)
    {
        if (s_files.TryGetValue(format, out var path)) return path;
        path = Path.Combine(s_folder, format + ".safetensors");
        var settings = new QuantizeSettings
        {
            Method = QuantizeMethod.Rtn,
            MethodName = "rtn",
            WeightBits = format[1] - '0',
            GroupSize = int.Parse(format[(format.IndexOf('g', StringComparison.Ordinal) + 1)..], System.Globalization.CultureInfo.InvariantCulture),
            Activations = format.Contains("a16", StringComparison.Ordinal) ? ActivationMode.Float : ActivationMode.Dynamic,
        };
        using var backend = CpuBackend.Create(new CpuOptions(2));
        new ModelQuantizer(() => DiTWeightsLoader.Load(TestFiles.DigitModel), backend, 2, _ => { }).Run(settings, path);
        s_files.Add(format, path);
        return path;
    }
}
