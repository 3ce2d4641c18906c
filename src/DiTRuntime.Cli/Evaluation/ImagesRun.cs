using System.Text.Json.Nodes;
using DiTRuntime.Backends;
using DiTRuntime.Calibration.Evaluation;

namespace DiTRuntime.Cli.Evaluation;

/// <summary>Compares a set of samples with a reference set, as the ADM evaluator does.</summary>
internal sealed class ImagesRun(IReadOnlyList<string> paths, string features, string? inception, Session session)
{
    /// <summary>Measures and prints.</summary>
    /// <exception cref="UsageException">The inputs do not fit each other.</exception>
    public void Execute()
    {
        if (paths.Count > 2) throw new UsageException($"{paths.Count} sets of images given; REF and SAMPLES were expected (--digits compares models)");
        var usesInception = features == "inception" || (features == "auto" && inception is not null);
        if (usesInception && inception is null) throw new UsageException("--features inception: give its weights with --inception FILE");
        if (!usesInception && inception is not null) throw new UsageException("--inception: it is not used with --features judge");
        if (usesInception && paths.Count == 1) throw new UsageException("only the digit judge has a reference built in; give REF and SAMPLES");
        using var backend = session.CreateBackend();
        using var reference = paths.Count == 2 ? new ImageSource(paths[0]) : null;
        using var samples = new ImageSource(paths[^1]);
        // Two files of statistics need nobody to look at images.
        using var extractor = !samples.HasImages && reference?.HasImages != true ? null : Extractor(usesInception, backend);
        QualityFigures? figures = null;
        session.WithProgress(display =>
        {
            var found = samples.Read(extractor, (done, total) => display.Report("samples", "images", done, total));
            var expected = reference is null
                ? new ImageSetFeatures { Statistics = RealDigits() }
                : reference.Read(extractor, (done, total) => display.Report("reference", "images", done, total));
            figures = QualityEvaluation.Compare(expected, found, backend);
        });
        Print(figures!, extractor);
    }

    private IFeatureExtractor Extractor(bool usesInception, IDiTBackend backend) => usesInception ? InceptionV3.Open(inception!, backend) : new DigitJudge();

    private static FeatureStatistics RealDigits()
    {
        using var judge = new DigitJudge();
        return judge.RealDigits;
    }

    private void Print(QualityFigures figures, IFeatureExtractor? extractor)
    {
        if (session.Json)
        {
            session.Print(new JsonObject
            {
                ["features"] = extractor?.Description,
                ["inception_score"] = JsonNumber.Of(figures.InceptionScore),
                ["fid"] = JsonNumber.Of(figures.Frechet),
                ["sfid"] = JsonNumber.Of(figures.SpatialFrechet),
                ["precision"] = JsonNumber.Of(figures.Precision),
                ["recall"] = JsonNumber.Of(figures.Recall),
            });
            return;
        }

        if (extractor is not null) session.Print($"features: {extractor.Description}");
        foreach (var (name, value) in new[] { ("Inception Score", figures.InceptionScore), ("FID", figures.Frechet), ("sFID", figures.SpatialFrechet), ("Precision", figures.Precision), ("Recall", figures.Recall) })
            if (value is { } number) session.Print($"{name}: {number:G10}");
    }
}
