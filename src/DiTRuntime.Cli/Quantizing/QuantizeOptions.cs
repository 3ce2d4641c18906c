using System.CommandLine;
using System.Globalization;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cli.Quantizing;

/// <summary>The flags of <c>dit quantize</c> that say what to make.</summary>
internal sealed class QuantizeOptions
{
    private const int DefaultGroup = 128;

    /// <summary>Methods whose name is reserved.</summary>
    private static readonly string[] s_later = ["viditq", "kmeans", "vq4dit", "dpq", "gptvq"];

    private readonly Option<string> _method = Flags.Text("--method", "rtn rounds to nearest; gptq makes up for each column's error in the next ones; qdit is gptq with the groups and dynamic 8-bit activations of Q-DiT", "rtn|gptq|qdit", "rtn");
    private readonly Option<int> _weightBits = Flags.Whole("--wbits", "Bits of a weight: 2, 3, 4, 5, 6 or 8", 4);
    private readonly Option<int> _activationBits = Flags.Whole("--abits", "Bits of the activations: 8, or 16 to leave them in floating point", ActivationFormat.Bits);
    private readonly Option<string> _activations = Flags.Choice("--activations", "Ranges of 8-bit activations: found per token at run time, or fixed by calibration (smallest and largest value over the samples)", "dynamic", "static");
    private readonly Option<string> _group = Flags.Text("--group-size", "Weights that share a scale; 0 or row for whole rows", "N|row", DefaultGroup.ToString(CultureInfo.InvariantCulture));
    private readonly Option<string?> _groups = Flags.OptionalText("--groups", "JSON file with group sizes of single layers, {\"blocks.0.attn.qkv\": 64, ...}, as --search writes it", "FILE");
    private readonly Option<string> _range = Flags.Choice("--range", "Range of a group: its smallest and largest weight, or the part of it with the least error", "minmax", "mse");
    private readonly Option<int> _samples = Flags.Whole("--samples", "Calibration samples, from the model's own trajectories", QuantizeSettings.DefaultSampleCount);
    private readonly Option<long> _seed = Flags.Long("--seed", "Seed of the calibration's classes, timesteps and noise, and of the search", 0);
    private readonly Option<bool> _packAll = Flags.Switch("--pack-all", "Pack embedders and final layer too, at 8 bits");
    private readonly Option<string> _compat = Flags.Choice("--compat", "Which published implementation calibration runs as", "official", "diffusers");

    /// <summary>The flags, for the command.</summary>
    public IEnumerable<Option> All => [_method, _weightBits, _activationBits, _activations, _group, _groups, _range, _samples, _seed, _packAll, _compat];

    /// <summary>What the flags say.</summary>
    /// <exception cref="UsageException">Values that make no sense, alone or together.</exception>
    /// <exception cref="InvalidFileException">The file of group sizes is not understood.</exception>
    public QuantizeSettings Read(ParseResult parse)
    {
        var method = parse.GetRequiredValue(_method);
        if (s_later.Contains(method)) throw new UsageException($"--method {method}: not in this build, which has rtn, gptq and qdit");
        if (method is not ("rtn" or "gptq" or "qdit")) throw new UsageException($"--method {method}: expected rtn, gptq or qdit");
        var bits = parse.GetValue(_weightBits);
        if (!GroupFormat.AllBits.Contains(bits)) throw new UsageException($"--wbits {bits}: expected 2, 3, 4, 5, 6 or 8");
        var samples = parse.GetValue(_samples);
        if (samples < 1) throw new UsageException($"--samples {samples}: expected at least 1");
        return new QuantizeSettings
        {
            Method = method == "rtn" ? QuantizeMethod.Rtn : QuantizeMethod.Gptq,
            MethodName = method,
            WeightBits = bits,
            GroupSize = ReadGroup(parse),
            Groups = parse.GetValue(_groups) is { } path ? GroupsFile.Read(path) : new Dictionary<string, int>(),
            Activations = ReadActivations(parse, method),
            Range = parse.GetRequiredValue(_range) == "mse" ? RangeRule.LeastError : RangeRule.MinMax,
            SampleCount = samples,
            Seed = unchecked((ulong)parse.GetValue(_seed)),
            PackAll = parse.GetValue(_packAll),
            Compatibility = Flags.Compatibility(parse, _compat),
        };
    }

    private int ReadGroup(ParseResult parse)
    {
        var text = parse.GetRequiredValue(_group);
        if (text == "row") return 0;
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var size)
            ? size
            : throw new UsageException($"--group-size {text}: expected a whole number, or row");
    }

    private ActivationMode ReadActivations(ParseResult parse, string method)
    {
        var bits = parse.GetValue(_activationBits);
        if (bits is not (ActivationFormat.Bits or 16)) throw new UsageException($"--abits {bits}: expected 8 or 16");
        var isStatic = parse.GetRequiredValue(_activations) == "static";
        if (method == "qdit" && (bits != ActivationFormat.Bits || isStatic))
            throw new UsageException($"--method qdit has dynamic 8-bit activations; with {(isStatic ? "--activations static" : $"--abits {bits}")} use --method gptq");
        if (bits == 16) return isStatic ? throw new UsageException("--activations static: with --abits 16 there are no ranges") : ActivationMode.Float;
        return isStatic ? ActivationMode.Static : ActivationMode.Dynamic;
    }
}
