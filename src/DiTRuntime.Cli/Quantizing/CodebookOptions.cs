using System.CommandLine;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cli.Quantizing;

/// <summary>The flags of <c>dit quantize</c> that belong to codebooks.</summary>
internal sealed class CodebookOptions
{
    private static readonly CodebookSettings s_defaults = new() { CodebookSize = 256, VectorLength = 4 };

    private readonly Option<int?> _size = Flags.OptionalWhole("--k", "Codewords of a codebook, 2 to 65536; with --d in place of --wbits");
    private readonly Option<int?> _length = Flags.OptionalWhole("--d", "Weights that share a code, 2 to 8");
    private readonly Option<string> _layout = Flags.Choice("--layout", "One codebook for all rows (three for q, k and v), or one for each position along the row; auto is product for dpq, in layers that are large enough for it", "auto", "codebook", "product");
    private readonly Option<string> _rowScales = Flags.Choice("--row-scales", "A scale for every row beside the codebook", "off", "on");
    private readonly Option<string> _pool = Flags.Choice("--pool", "Codewords of dpq as numbers into one pool of vectors; auto where that is smaller", "auto", "on", "off");
    private readonly Option<int> _candidates = Flags.Whole("--candidates", "Codewords that a vector chooses among in vq4dit", s_defaults.Candidates);
    private readonly Option<string> _start = Flags.Choice("--init", "What vq4dit and dpq start from; auto is gptvq for vq4dit, kmeans for dpq", "auto", "kmeans", "gptvq");
    private readonly Option<int?> _iterations = Flags.OptionalWhole("--iterations", "Iterations of the training of vq4dit and dpq");
    private readonly Option<string> _training = Flags.Choice("--training", "What a step of vq4dit's training runs through: one block after the other, in the memory of one, or the model end to end", "blocks", "model");
    private readonly Option<string?> _data = Flags.OptionalText("--data", "Latents or images with labels that dpq is trained on; absent: what the model itself teaches", "PATH");

    /// <summary>The flags, for the command.</summary>
    public IEnumerable<Option> All => [_size, _length, _layout, _rowScales, _pool, _candidates, _start, _iterations, _training, _data];

    /// <summary>Why a flag does not belong to a method, or null.</summary>
    public string? Refusal(Option flag, QuantizeMethod method) =>
        (flag == _candidates || flag == _training) && method != QuantizeMethod.Vq4Dit ? "this belongs to --method vq4dit"
        : (flag == _pool || flag == _data) && method != QuantizeMethod.Dpq ? "this belongs to --method dpq"
        : (flag == _start || flag == _iterations) && method is not (QuantizeMethod.Vq4Dit or QuantizeMethod.Dpq) ? "this belongs to --method vq4dit and dpq"
        : All.Contains(flag) && method is QuantizeMethod.Rtn or QuantizeMethod.Gptq ? "this belongs to the methods with codebooks: kmeans, gptvq, vq4dit and dpq"
        : null;

    /// <summary>Whether some flag asks for codebooks.</summary>
    public bool AreGiven(ParseResult parse) => All.Any(flag => parse.GetResult(flag) is { Implicit: false });

    /// <summary>What the flags say.</summary>
    /// <param name="parse">The flags.</param>
    /// <param name="method">A method with codebooks.</param>
    /// <param name="weightBits">The value of --wbits, or null without one.</param>
    /// <exception cref="UsageException">Values that make no sense, alone or together.</exception>
    public CodebookSettings Read(ParseResult parse, QuantizeMethod method, int? weightBits)
    {
        var (size, length) = Sizes(parse, weightBits);
        var layout = parse.GetRequiredValue(_layout);
        var isProduct = layout == "product" || (layout == "auto" && method == QuantizeMethod.Dpq);
        if (!isProduct && parse.GetResult(_pool) is { Implicit: false }) throw new UsageException("--pool: only --layout product has one");
        return new CodebookSettings
        {
            CodebookSize = size,
            VectorLength = length,
            IsProduct = isProduct,
            TiesPositions = layout == "auto",
            HasRowScales = parse.GetRequiredValue(_rowScales) == "on",
            Pool = method != QuantizeMethod.Dpq ? PoolUse.Off : Enum.Parse<PoolUse>(parse.GetRequiredValue(_pool), ignoreCase: true),
            Candidates = parse.GetValue(_candidates) is >= 1 and var candidates && candidates <= size ? candidates : throw new UsageException($"--candidates {parse.GetValue(_candidates)}: expected 1 to k, which is {size}"),
            Start = parse.GetRequiredValue(_start) == "gptvq" || (parse.GetRequiredValue(_start) == "auto" && method == QuantizeMethod.Vq4Dit) ? QuantizeMethod.Gptvq : QuantizeMethod.KMeans,
            Iterations = parse.GetValue(_iterations) is not (< 1) ? parse.GetValue(_iterations) : throw new UsageException($"--iterations {parse.GetValue(_iterations)}: expected at least 1"),
            Training = parse.GetRequiredValue(_training) == "model" ? TrainingScope.Model : TrainingScope.Blocks,
            DataPath = parse.GetValue(_data),
        };
    }

    private (int Size, int Length) Sizes(ParseResult parse, int? weightBits)
    {
        switch (parse.GetValue(_size), parse.GetValue(_length))
        {
            case (null, null): return CodebookSettings.SizesFor(weightBits ?? 2);
            case (null, _): throw new UsageException("--d: --k is missing beside it");
            case (_, null): throw new UsageException("--k: --d is missing beside it");
            case ({ } size, { } length):
                if (weightBits is not null) throw new UsageException("--wbits: --k and --d say it already");
                if (size is < CodebookFormat.MinCodebookSize or > CodebookFormat.MaxCodebookSize) throw new UsageException($"--k {size}: expected {CodebookFormat.MinCodebookSize} to {CodebookFormat.MaxCodebookSize}");
                if (length is < CodebookFormat.MinVectorLength or > CodebookFormat.MaxVectorLength) throw new UsageException($"--d {length}: expected {CodebookFormat.MinVectorLength} to {CodebookFormat.MaxVectorLength}");
                return (size, length);
        }
    }
}
