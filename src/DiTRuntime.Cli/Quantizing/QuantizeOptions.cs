using System.CommandLine;
using System.Globalization;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cli.Quantizing;

/// <summary>The flags of <c>dit quantize</c> that say what to make.</summary>
internal sealed class QuantizeOptions
{
    private const int DefaultGroup = 128, DefaultBits = 4;

    /// <summary>Activation bits of methods with codebooks: what they win is bytes, and the sum over a row has no groups to be quantized in.</summary>
    private const int CodebookActivationBits = 16;

    /// <summary>Methods whose name is reserved.</summary>
    private static readonly string[] s_later = ["viditq"];

    private static readonly Dictionary<string, QuantizeMethod> s_methods = new(StringComparer.Ordinal)
    {
        ["rtn"] = QuantizeMethod.Rtn,
        ["gptq"] = QuantizeMethod.Gptq,
        ["qdit"] = QuantizeMethod.Gptq,
        ["kmeans"] = QuantizeMethod.KMeans,
        ["gptvq"] = QuantizeMethod.Gptvq,
        ["vq4dit"] = QuantizeMethod.Vq4Dit,
        ["dpq"] = QuantizeMethod.Dpq,
    };

    private readonly CodebookOptions _codebooks = new();
    private readonly Option<string?> _method = Flags.OptionalText(
        "--method", "rtn rounds to nearest; gptq makes up for each column's error in the next ones; qdit is gptq with the groups and dynamic 8-bit activations of Q-DiT; kmeans gives each vector of weights its nearest "
        + "codeword; gptvq is gptq for codewords; vq4dit trains assignments and codewords without data; dpq has a codebook for each position; where no flag says rtn, with codebooks gptvq", string.Join('|', s_methods.Keys));
    private readonly Option<int?> _weightBits = Flags.OptionalWhole("--wbits", "Bits of a weight: 2, 3, 4 (the default), 5, 6 or 8; with codebooks 1, 2 (the default), 3 or 4");
    private readonly Option<int?> _activationBits = Flags.OptionalWhole("--abits", "Bits of the activations: 8, or 16 to leave them in floating point; 8 where no flag says, with codebooks 16");
    private readonly Option<string> _activations = Flags.Choice("--activations", "Ranges of 8-bit activations: found per token at run time, or fixed by calibration (smallest and largest value over the samples)", "dynamic", "static");
    private readonly Option<string> _group = Flags.Text("--group-size", "Weights that share a scale, with codebooks quantized activations; 0 or row for whole rows", "N|row", DefaultGroup.ToString(CultureInfo.InvariantCulture));
    private readonly Option<string?> _groups = Flags.OptionalText("--groups", "JSON file with group sizes of single layers, {\"blocks.0.attn.qkv\": 64, ...}, as --search writes it", "FILE");
    private readonly Option<string> _range = Flags.Choice("--range", "Range of a group: its smallest and largest weight, or the part of it with the least error", "minmax", "mse");
    private readonly Option<int> _samples = Flags.Whole("--samples", "Calibration samples, from the model's own trajectories", QuantizeSettings.DefaultSampleCount);
    private readonly Option<long> _seed = Flags.Long("--seed", "Seed of the calibration's classes, timesteps and noise, and of the search", 0);
    private readonly Option<bool> _packAll = Flags.Switch("--pack-all", "Pack embedders and final layer too, at 8 bits; with codebooks the large ones as the blocks");
    private readonly Option<string> _compat = Flags.Choice("--compat", "Which published implementation calibration runs as", "official", "diffusers");

    /// <summary>The flags, for the command.</summary>
    public IEnumerable<Option> All => [_method, _weightBits, _activationBits, _activations, _group, _groups, _range, _samples, _seed, _packAll, _compat, .. _codebooks.All];

    /// <summary>What the flags say.</summary>
    /// <exception cref="UsageException">Values that make no sense, alone or together.</exception>
    /// <exception cref="InvalidFileException">The file of group sizes is not understood.</exception>
    public QuantizeSettings Read(ParseResult parse)
    {
        var name = parse.GetValue(_method) ?? (_codebooks.AreGiven(parse) ? "gptvq" : "rtn");
        if (s_later.Contains(name)) throw new UsageException($"--method {name}: not in this build, which has {Methods()}");
        if (!s_methods.TryGetValue(name, out var method)) throw new UsageException($"--method {name}: expected {Methods()}");
        var hasCodebooks = method is not (QuantizeMethod.Rtn or QuantizeMethod.Gptq);
        RefuseForeign(parse, name, method, hasCodebooks);
        var bits = parse.GetValue(_weightBits);
        if (!hasCodebooks && !GroupFormat.AllBits.Contains(bits ?? DefaultBits)) throw new UsageException($"--wbits {bits}: expected 2, 3, 4, 5, 6 or 8");
        var samples = parse.GetValue(_samples);
        if (samples < 1) throw new UsageException($"--samples {samples}: expected at least 1");
        return new QuantizeSettings
        {
            Method = method,
            MethodName = name,
            WeightBits = hasCodebooks ? 0 : bits ?? DefaultBits,
            GroupSize = ReadGroup(parse),
            Codebooks = hasCodebooks ? _codebooks.Read(parse, method, bits) : null,
            Groups = parse.GetValue(_groups) is { } path ? GroupsFile.Read(path) : new Dictionary<string, int>(),
            Activations = ReadActivations(parse, name, hasCodebooks),
            Range = parse.GetRequiredValue(_range) == "mse" ? RangeRule.LeastError : RangeRule.MinMax,
            SampleCount = samples,
            Seed = unchecked((ulong)parse.GetValue(_seed)),
            PackAll = parse.GetValue(_packAll),
            Compatibility = Flags.Compatibility(parse, _compat),
        };
    }

    private static string Methods() => $"{string.Join(", ", s_methods.Keys.SkipLast(1))} or {s_methods.Keys.Last()}";

    /// <summary>A flag of another method would say what is not done.</summary>
    private void RefuseForeign(ParseResult parse, string name, QuantizeMethod method, bool hasCodebooks)
    {
        foreach (var flag in All.Where(flag => parse.GetResult(flag) is { Implicit: false }))
        {
            var problem = _codebooks.Refusal(flag, method)
                ?? (!hasCodebooks ? null
                : flag == _groups || flag == _range ? "this belongs to the methods with groups: rtn, gptq and qdit"
                : flag == _group && parse.GetValue(_activationBits) != ActivationFormat.Bits ? "with codebooks it says the groups of quantized activations; add --abits 8"
                : null);
            if (problem is not null) throw new UsageException($"{flag.Name} with --method {name}: {problem}");
        }
    }

    private int ReadGroup(ParseResult parse)
    {
        var text = parse.GetRequiredValue(_group);
        if (text == "row") return 0;
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var size)
            ? size
            : throw new UsageException($"--group-size {text}: expected a whole number, or row");
    }

    private ActivationMode ReadActivations(ParseResult parse, string method, bool hasCodebooks)
    {
        var bits = parse.GetValue(_activationBits) ?? (hasCodebooks ? CodebookActivationBits : ActivationFormat.Bits);
        if (bits is not (ActivationFormat.Bits or 16)) throw new UsageException($"--abits {bits}: expected 8 or 16");
        var isStatic = parse.GetRequiredValue(_activations) == "static";
        if (method == "qdit" && (bits != ActivationFormat.Bits || isStatic))
            throw new UsageException($"--method qdit has dynamic 8-bit activations; with {(isStatic ? "--activations static" : $"--abits {bits}")} use --method gptq");
        if (bits == 16) return isStatic ? throw new UsageException("--activations static: with --abits 16 there are no ranges") : ActivationMode.Float;
        return isStatic ? ActivationMode.Static : ActivationMode.Dynamic;
    }
}
