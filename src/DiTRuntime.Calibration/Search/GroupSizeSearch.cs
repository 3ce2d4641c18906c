using DiTRuntime.Sampling;

namespace DiTRuntime.Calibration.Search;

/// <summary>A layer whose group size is searched for.</summary>
/// <param name="Name">Official name.</param>
/// <param name="Inputs">K.</param>
public sealed record SearchedLayer(string Name, int Inputs);

/// <summary>A choice of group sizes, measured.</summary>
/// <param name="Groups">In the order of the layers.</param>
/// <param name="Fitness">Smaller is better.</param>
public sealed record Candidate(IReadOnlyList<int> Groups, double Fitness);

/// <summary>
/// The evolutionary search for group sizes of Q-DiT (Chen et al. 2024, algorithm 1): measure a generation, keep the best candidates ever seen, make the next generation
/// of them by crossing and mutation, under a bound on the mean group size.
/// </summary>
/// <remarks>A generation depends on the seed, its number and the ones before it alone, so a search that was broken off goes on from its log as if it had not been.</remarks>
public sealed class GroupSizeSearch
{
    /// <summary>Draws that may miss the bound, or repeat a candidate, before the next best thing is taken.</summary>
    private const int MaxDraws = 1000;

    private readonly IReadOnlyList<SearchedLayer> _layers;
    private readonly SearchSettings _settings;
    private readonly ISearchFitness _fitness;
    private readonly int[][] _choices;
    private readonly Dictionary<string, Candidate> _known = new(StringComparer.Ordinal);

    /// <param name="layers">The layers.</param>
    /// <param name="settings">How to search.</param>
    /// <param name="fitness">What is sought.</param>
    /// <exception cref="UsageException">The settings make no sense, or nothing meets the bound.</exception>
    public GroupSizeSearch(IReadOnlyList<SearchedLayer> layers, SearchSettings settings, ISearchFitness fitness)
    {
        settings.Check();
        _layers = layers;
        _settings = settings;
        _fitness = fitness;
        _choices = [.. layers.Select(layer => settings.Sizes.Where(size => size <= layer.Inputs).ToArray())];
        if (Array.FindIndex(_choices, sizes => sizes.Length == 0) is >= 0 and var empty)
            throw new UsageException($"{layers[empty].Name} has rows of {layers[empty].Inputs}, shorter than every group size searched over");
        if (!Meets(Largest()))
            throw new UsageException(FormattableString.Invariant($"--search-mean {settings.MinMeanSize}: the largest groups of these layers have a mean of {Largest().Average():0.#}"));
    }

    /// <summary>Searches.</summary>
    /// <param name="log">Keeps the generations; what it already holds is not measured again.</param>
    /// <param name="progress">Told the number of candidates measured, and of all there will be.</param>
    /// <param name="cancellation">Ends the search after a candidate; finished generations stay in the log.</param>
    /// <returns>The best candidate.</returns>
    public Candidate Run(SearchLog log, IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellation = default)
    {
        for (var generation = 0; generation < _settings.Generations; generation++)
        {
            if (generation < log.Generations.Count)
            {
                foreach (var candidate in log.Generations[generation]) _known.TryAdd(Key(candidate.Groups), candidate);
                continue;
            }

            var measured = new List<Candidate>();
            foreach (var groups in Generation(generation))
            {
                cancellation.ThrowIfCancellationRequested();
                measured.Add(Measure(groups));
                progress?.Report((generation * _settings.Population + measured.Count, _settings.Generations * _settings.Population));
            }

            log.Add(measured);
        }

        return Best(1)[0];
    }

    /// <summary>Group sizes of a candidate by layer.</summary>
    public IReadOnlyDictionary<string, int> ByLayer(IReadOnlyList<int> groups) =>
        _layers.Zip(groups).ToDictionary(pair => pair.First.Name, pair => pair.Second, StringComparer.Ordinal);

    private static string Key(IReadOnlyList<int> groups) => string.Join(',', groups);

    private Candidate Measure(int[] groups)
    {
        if (_known.TryGetValue(Key(groups), out var known)) return known;
        var fitness = _fitness.Measure(ByLayer(groups));
        // A model that has broken down has no distance from anything.
        var candidate = new Candidate(groups, double.IsFinite(fitness) ? fitness : double.MaxValue);
        _known.Add(Key(groups), candidate);
        return candidate;
    }

    private List<int[]> Generation(int number)
    {
        var random = new TorchGenerator(unchecked(_settings.Seed * 10_007 + (ulong)number));
        var generation = new List<int[]>();
        var taken = new HashSet<string>(_known.Keys, StringComparer.Ordinal);
        void Fill(int count, Func<int[]> draw)
        {
            while (generation.Count < count)
            {
                var groups = Draw(draw, taken);
                taken.Add(Key(groups));
                generation.Add(groups);
            }
        }

        if (number == 0)
        {
            // The search starts from what it has to beat.
            if (Uniform() is { } uniform) Fill(1, () => uniform);
            Fill(_settings.Population, () => Random(random));
            return generation;
        }

        var parents = Best(_settings.Parents);
        Fill(_settings.Crossovers, () => Cross(random, Pick(random, parents), Pick(random, parents)));
        Fill(_settings.Population, () => Mutate(random, Pick(random, parents)));
        return generation;
    }

    /// <summary>Draws until a candidate meets the bound and is new; a small search space may have none left, then one that meets the bound will do.</summary>
    private int[] Draw(Func<int[]> draw, HashSet<string> taken)
    {
        int[]? allowed = null;
        for (var i = 0; i < MaxDraws; i++)
        {
            var groups = draw();
            if (!Meets(groups)) continue;
            allowed = groups;
            if (!taken.Contains(Key(groups))) return groups;
        }

        return allowed ?? Largest();
    }

    private bool Meets(int[] groups) => groups.Average() >= _settings.MinMeanSize;

    private int[] Largest() => Array.ConvertAll(_choices, sizes => sizes.Max());

    /// <summary>The smallest size that all layers can have and that meets the bound, in all of them.</summary>
    private int[]? Uniform()
    {
        var size = _settings.Sizes.Where(s => s >= _settings.MinMeanSize && _choices.All(sizes => sizes.Contains(s))).DefaultIfEmpty(0).Min();
        return size == 0 ? null : [.. _choices.Select(_ => size)];
    }

    private int[] Random(TorchGenerator random) => Array.ConvertAll(_choices, sizes => Pick(random, sizes));

    private int[] Cross(TorchGenerator random, Candidate first, Candidate second) =>
        [.. _choices.Select((_, layer) => (random.NextInt(2) == 0 ? first : second).Groups[layer])];

    private int[] Mutate(TorchGenerator random, Candidate parent)
    {
        var threshold = _settings.MutationRate * uint.MaxValue;
        return [.. _choices.Select((sizes, layer) => random.NextUInt32() <= threshold ? Pick(random, sizes) : parent.Groups[layer])];
    }

    private static T Pick<T>(TorchGenerator random, IReadOnlyList<T> values) => values[(int)random.NextInt((uint)values.Count)];

    /// <summary>The best candidates so far; of equals the one whose sizes come first, so that the order of measuring does not matter.</summary>
    private List<Candidate> Best(int count) => [.. _known.Values.OrderBy(c => c.Fitness).ThenBy(c => Key(c.Groups), StringComparer.Ordinal).Take(count)];
}
