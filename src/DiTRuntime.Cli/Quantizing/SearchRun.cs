using System.Globalization;
using System.Text.Json.Nodes;
using DiTRuntime.Backends;
using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Search;
using DiTRuntime.Checkpoints;
using DiTRuntime.Decoding;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cli.Quantizing;

/// <summary>Carries out <c>dit quantize --search</c>.</summary>
/// <param name="session">Console and common options.</param>
/// <param name="open">Opens the model.</param>
/// <param name="settings">Formats of the candidates.</param>
internal sealed class SearchRun(Session session, Func<DiTWeights> open, QuantizeSettings settings)
{
    /// <summary>What a search measures candidates by.</summary>
    /// <param name="UsesFrechet">Whether by their images.</param>
    /// <param name="Samples">Samples or images.</param>
    /// <param name="Steps">Steps of an image.</param>
    public sealed record Measure(bool UsesFrechet, int Samples, int Steps);

    /// <summary>Searches, and writes the group sizes.</summary>
    /// <param name="search">How to search.</param>
    /// <param name="measure">What candidates are measured by.</param>
    /// <param name="output">The file of group sizes.</param>
    /// <exception cref="UsageException">The measure does not fit the model.</exception>
    public void Run(SearchSettings search, Measure measure, string output)
    {
        if (settings.Activations == ActivationMode.Static) throw new UsageException("--search measures candidates with dynamic activations; --activations static has no place here");
        if (settings.Groups.Count > 0) throw new UsageException("--search finds group sizes; --groups has no place beside it");
        using var backend = session.CreateBackend();
        using var models = new CandidateModels(open, backend, settings, session.ThreadCount);
        using var weights = open();
        using var judge = measure.UsesFrechet ? Judge(weights.Config) : null;
        using var decoder = new PixelDecoder(1);
        Candidate? best = null;
        GroupSizeSearch? run = null;
        session.WithProgress(display =>
        {
            ISearchFitness fitness = judge is null
                ? new NoiseErrorFitness(models, measure.Samples, search.Seed)
                : new FrechetFitness(models, judge, judge.RealDigits, decoder, measure.Samples, measure.Steps, search.Seed);
            var layers = CandidateModels.Layers(weights);
            run = new GroupSizeSearch(layers, search, fitness);
            var log = SearchLog.Open($"{output}.log.jsonl", Header(search, fitness, weights, backend), layers.Count, session.Note);
            best = run.Run(log, new DirectProgress<(int Done, int Total)>(p => display.Report("searching", "candidates", p.Done, p.Total)), session.Cancellation);
        });
        var groups = run!.ByLayer(best!.Groups);
        GroupsFile.Write(output, groups);
        Print(output, groups, best.Fitness);
    }

    private static DigitJudge Judge(DiTConfig config) => config is { InChannels: 1, InputSize: 32, ClassCount: 10 }
        ? new DigitJudge()
        : throw new UsageException("--search-fitness frechet: the digit judge reads ten classes of grey 32x32 images, which this model does not make; use noise");

    /// <summary>All that a search follows from.</summary>
    private JsonObject Header(SearchSettings search, ISearchFitness fitness, DiTWeights weights, IDiTBackend backend) => new()
    {
        ["search"] = "group sizes",
        ["model"] = ContentHash.Of(weights.Checkpoint),
        ["method"] = JsonNode.Parse(settings.MethodJson()),
        ["fitness"] = fitness.Description,
        ["population"] = search.Population,
        ["select"] = search.Parents,
        ["crossover"] = search.Crossovers,
        ["mutation"] = search.MutationRate,
        ["mean"] = search.MinMeanSize,
        ["sizes"] = new JsonArray([.. search.Sizes.Select(size => (JsonNode)size)]),
        ["seed"] = search.Seed,
        ["backend"] = backend.Name,
    };

    private void Print(string output, IReadOnlyDictionary<string, int> groups, double fitness)
    {
        var mean = groups.Values.Average();
        if (session.Json)
        {
            session.Print(new JsonObject { ["file"] = output, ["fitness"] = fitness, ["mean_group"] = mean, ["layers"] = groups.Count });
            return;
        }

        session.Print(string.Create(CultureInfo.InvariantCulture, $"{output}: group sizes of {groups.Count} layers, mean {mean:0.0}; fitness {fitness:0.000e+00}"));
    }
}
