using System.Text.Json.Nodes;
using DiTRuntime.Calibration.Search;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Calibration.Search;

internal sealed class GroupSizeSearchTests
{
    private static readonly SearchedLayer[] s_layers = [.. Enumerable.Range(0, 12).Select(i => new SearchedLayer($"layer{i}", i % 3 == 0 ? 256 : 1152))];

    private static readonly SearchSettings s_settings = new() { Population = 20, Parents = 5, Crossovers = 10, Generations = 8, Seed = 1 };

    private readonly List<string> _notes = [];

    [SetUp]
    public void Forget() => _notes.Clear();

    [Test]
    public void Every_candidate_meets_the_bound_and_fits_its_layers()
    {
        using var folder = new TemporaryFolder();
        var fitness = new Preference();

        Search(folder["log"], fitness);

        // Children of few parents may repeat a known candidate, which is not measured again.
        Assert.That(fitness.Seen, Has.Count.InRange(130, 160));
        foreach (var groups in fitness.Seen)
        {
            Assert.That(groups.Values.Average(), Is.GreaterThanOrEqualTo(128));
            foreach (var layer in s_layers) Assert.That(groups[layer.Name], Is.LessThanOrEqualTo(layer.Inputs).And.AnyOf(32, 64, 96, 128, 192, 288));
        }

        Assert.That(fitness.Seen.Select(groups => string.Join(',', groups.Values)), Is.Unique);
    }

    [Test]
    public void Finds_better_than_uniform_and_better_than_chance()
    {
        using var folder = new TemporaryFolder();
        var fitness = new Preference();

        var best = Search(folder["log"], fitness);

        var uniform = fitness.Measure(s_layers.ToDictionary(layer => layer.Name, _ => 128));
        var chance = new Preference();
        Search(folder["chance"], chance, s_settings with { Generations = 1, Population = 160 });
        Assert.That(best.Fitness, Is.LessThan(0.7 * uniform));
        Assert.That(best.Fitness, Is.LessThan(chance.Values.Min()));
        Assert.That(best.Fitness, Is.EqualTo(fitness.Values.Min()));
    }

    [Test]
    public void Starts_from_the_uniform_choice()
    {
        using var folder = new TemporaryFolder();
        var fitness = new Preference();

        Search(folder["log"], fitness, s_settings with { Generations = 1 });

        Assert.That(fitness.Seen[0].Values, Is.All.EqualTo(128));
    }

    [Test]
    public void A_seed_gives_the_same_search()
    {
        using var folder = new TemporaryFolder();
        Search(folder["a"], new Preference());
        Search(folder["b"], new Preference());
        Search(folder["c"], new Preference(), s_settings with { Seed = 2 });

        Assert.That(File.ReadAllText(folder["b"]), Is.EqualTo(File.ReadAllText(folder["a"])));
        Assert.That(File.ReadAllText(folder["c"]), Is.Not.EqualTo(File.ReadAllText(folder["a"])));
    }

    [Test]
    public void A_search_goes_on_from_its_log_as_if_it_had_not_been_broken_off()
    {
        using var folder = new TemporaryFolder();
        var whole = new Preference();
        Search(folder["whole"], whole);
        using var kill = new CancellationTokenSource();
        var fitness = new Preference { OnMeasure = count => { if (count == 70) kill.Cancel(); } };
        Assert.That(() => Search(folder["log"], fitness, cancellation: kill.Token), Throws.InstanceOf<OperationCanceledException>());
        var rest = new Preference();

        Search(folder["log"], rest);

        Assert.That(_notes.Single(), Does.Contain("after generation 3"));
        Assert.That(rest.Values, Is.EqualTo(whole.Values.Skip(60)));
        Assert.That(File.ReadAllText(folder["log"]), Is.EqualTo(File.ReadAllText(folder["whole"])));
    }

    [Test]
    public void A_log_of_another_search_is_replaced_with_a_word_and_any_other_file_refused()
    {
        using var folder = new TemporaryFolder();
        Search(folder["log"], new Preference());
        Search(folder["log"], new Preference(), s_settings with { Seed = 9 });
        Assert.That(_notes.Single(), Does.Contain("other settings"));
        File.WriteAllText(folder["strange"], "dear diary");
        Assert.That(() => Search(folder["strange"], new Preference()), Throws.InstanceOf<InvalidFileException>().With.Message.Contains("strange"));
        var lines = File.ReadAllLines(folder["log"]);
        File.WriteAllText(folder["log"], lines[0] + "\n" + lines[1][..100]);
        Assert.That(() => Search(folder["log"], new Preference(), s_settings with { Seed = 9 }), Throws.InstanceOf<InvalidFileException>().With.Message.Contains("log"));
    }

    [Test]
    public void Impossible_bounds_and_senseless_settings_are_refused()
    {
        GroupSizeSearch Make(SearchSettings settings) => new(s_layers, settings, new Preference());

        Assert.That(() => Make(s_settings with { MinMeanSize = 289 }), Throws.InstanceOf<UsageException>().With.Message.Contains("--search-mean 289"));
        Assert.That(() => Make(s_settings with { Parents = 21 }), Throws.InstanceOf<UsageException>().With.Message.Contains("--search-select"));
        Assert.That(() => Make(s_settings with { MutationRate = 0 }), Throws.InstanceOf<UsageException>().With.Message.Contains("--search-mutation"));
        Assert.That(() => new GroupSizeSearch([new SearchedLayer("small", 16)], s_settings, new Preference()), Throws.InstanceOf<UsageException>().With.Message.Contains("small"));
    }

    private Candidate Search(string log, Preference fitness, SearchSettings? settings = null, CancellationToken cancellation = default)
    {
        settings ??= s_settings;
        var header = new JsonObject { ["seed"] = settings.Seed };
        return new GroupSizeSearch(s_layers, settings, fitness).Run(SearchLog.Open(log, header, s_layers.Length, _notes.Add), cancellation: cancellation);
    }

    /// <summary>Small groups matter in the first layers, and not at all in the last.</summary>
    private sealed class Preference : ISearchFitness
    {
        public List<IReadOnlyDictionary<string, int>> Seen { get; } = [];

        public List<double> Values { get; } = [];

        public Action<int> OnMeasure { get; init; } = _ => { };

        public string Description => "preference";

        public double Measure(IReadOnlyDictionary<string, int> groups)
        {
            Seen.Add(groups);
            Values.Add(s_layers.Select((layer, i) => groups[layer.Name] * Math.Exp(-i)).Sum());
            OnMeasure(Seen.Count);
            return Values[^1];
        }
    }
}
