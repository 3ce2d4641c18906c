using System.CommandLine;
using DiTRuntime.Calibration.Search;

namespace DiTRuntime.Cli.Quantizing;

/// <summary>The flags of <c>dit quantize --search</c>.</summary>
internal sealed class SearchOptions
{
    private static readonly SearchSettings s_defaults = new();

    private readonly Option<bool> _search = Flags.Switch("--search", "Search for group sizes of single layers, and write them to --out for --groups; a log stands beside it, from which a search that was broken off goes on");
    private readonly Option<string> _fitness = Flags.Choice("--search-fitness", "Error of the predicted noise, or Fréchet distance of images on the digit judge's features", "noise", "frechet");
    private readonly Option<int> _population = Flags.Whole("--search-population", "Candidates of a generation", s_defaults.Population);
    private readonly Option<int> _parents = Flags.Whole("--search-select", "Best candidates that the next generation comes from", s_defaults.Parents);
    private readonly Option<int> _crossovers = Flags.Whole("--search-crossover", "Candidates crossed from two others; the rest are mutations", s_defaults.Crossovers);
    private readonly Option<double> _mutation = Flags.Number("--search-mutation", "Chance of each layer to change in a mutation", s_defaults.MutationRate);
    private readonly Option<int> _epochs = Flags.Whole("--search-epochs", "Generations", s_defaults.Generations);
    private readonly Option<double> _mean = Flags.Number("--search-mean", "Smallest mean group size allowed", s_defaults.MinMeanSize);
    private readonly Option<int> _samples = Flags.Whole("--search-samples", "Samples (noise) or images (frechet) that a candidate is measured on", 64);
    private readonly Option<int> _steps = Flags.Whole("--search-steps", "DDIM steps of an image (frechet)", 20);

    /// <summary>The flags, for the command.</summary>
    public IEnumerable<Option> All => [_search, _fitness, _population, _parents, _crossovers, _mutation, _epochs, _mean, _samples, _steps];

    /// <summary>Whether to search.</summary>
    public bool IsWanted(ParseResult parse) => parse.GetValue(_search);

    /// <summary>Whether candidates are measured by their images.</summary>
    public bool UsesFrechet(ParseResult parse) => parse.GetRequiredValue(_fitness) == "frechet";

    /// <summary>Samples or images of a candidate.</summary>
    /// <exception cref="UsageException">Not at least one.</exception>
    public int Samples(ParseResult parse) => parse.GetValue(_samples) is >= 1 and var samples ? samples : throw new UsageException($"--search-samples {parse.GetValue(_samples)}: expected at least 1");

    /// <summary>Steps of an image.</summary>
    public int Steps(ParseResult parse) => parse.GetValue(_steps);

    /// <summary>How to search.</summary>
    /// <param name="parse">The flags.</param>
    /// <param name="seed">The value of --seed.</param>
    /// <exception cref="UsageException">Values that make no sense.</exception>
    public SearchSettings Read(ParseResult parse, ulong seed)
    {
        var settings = new SearchSettings
        {
            Population = parse.GetValue(_population),
            Parents = parse.GetValue(_parents),
            Crossovers = parse.GetValue(_crossovers),
            MutationRate = parse.GetValue(_mutation),
            Generations = parse.GetValue(_epochs),
            MinMeanSize = parse.GetValue(_mean),
            Seed = seed,
        };
        settings.Check();
        return settings;
    }
}
