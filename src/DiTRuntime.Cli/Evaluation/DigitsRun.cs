using System.Globalization;
using System.Text.Json.Nodes;
using DiTRuntime.Backends;
using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Calibration.Reporting;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Evaluation;

/// <summary>One line of the table of digit models.</summary>
/// <param name="Name">The model.</param>
/// <param name="Bytes">Bytes of its tensors as stored.</param>
/// <param name="Bits">Bits per weight of its blocks, with all that they need.</param>
/// <param name="Figures">What its images are worth.</param>
/// <param name="PsnrDecibels">Of its images against the reference's.</param>
/// <param name="Comparison">With the reference, over some images; null for the reference itself.</param>
internal sealed record DigitRow(string Name, long Bytes, double Bits, DigitFigures Figures, double PsnrDecibels, ComparisonResult? Comparison);

/// <summary>Draws the same digits with several models and puts size beside quality.</summary>
internal sealed class DigitsRun(IReadOnlyList<string> models, DigitSettings settings, int? heads, string? report, Session session)
{
    /// <summary>Images over which noise errors are measured: three passes a step each.</summary>
    private const int ComparedImages = 20;

    private static readonly string[] s_columns = ["model", "bytes", "smaller by", "bits per weight", "judge agrees", "Fréchet distance", "PSNR dB", "noise error (MSE)", "seconds"];

    /// <summary>Measures every model and prints the table.</summary>
    public void Execute()
    {
        if (report is not null) HtmlReport.Prepare(report);
        using var backend = session.CreateBackend();
        using var judge = new DigitJudge();
        var rows = new List<DigitRow>();
        using var reference = Open(models[0], backend, out _, out _);
        session.WithProgress(display =>
        {
            foreach (var path in models) rows.Add(Measure(path, rows.FirstOrDefault(), reference, backend, judge, display));
        });
        if (session.Json) session.Print(Json(rows, backend));
        else Print(rows);
        if (report is not null) session.Note(Save(report, rows, backend));
    }

    private DigitRow Measure(string path, DigitRow? first, DiTModel reference, IDiTBackend backend, DigitJudge judge, IProgressDisplay display)
    {
        var name = ModelSource.NameOf(path);
        using var model = Open(path, backend, out var bytes, out var bits);
        ModelComparison.CheckArchitectures(reference.Config, model.Config);
        var progress = new DirectProgress<GenerationProgress>(p =>
        {
            if (p.Stage == GenerationStage.Sampling) display.Report($"drawing with {name}", "steps", p.Done, p.Total);
        });
        var figures = DigitQuality.Measure(model, settings, judge, progress, session.Cancellation);
        if (first is null) return new DigitRow(name, bytes, bits, figures, figures.PsnrAgainst(figures), null);
        var compared = new ComparisonSettings(settings.Steps, Math.Min(ComparedImages, settings.Samples), settings.Seed, settings.GuidanceScale);
        var comparison = ModelComparison.Run(
            reference, model, compared, decoder: null, new DirectProgress<(int Done, int Total)>(p => display.Report($"comparing {name}", "steps", p.Done, p.Total)));
        return new DigitRow(name, bytes, bits, figures, figures.PsnrAgainst(first.Figures), comparison);
    }

    private DiTModel Open(string path, IDiTBackend backend, out long bytes, out double bits)
    {
        var weights = ModelSource.Open(path, heads);
        bytes = weights.Checkpoint.Tensors.Sum(tensor => tensor.ByteCount);
        bits = ModelParts.BlockBitsPerWeight(weights);
        return new DiTModel(weights, backend, Compatibility.Official);
    }

    private void Print(List<DigitRow> rows)
    {
        session.Print($"| {string.Join(" | ", s_columns)} |");
        session.Print($"|---|{string.Concat(Enumerable.Repeat("---:|", s_columns.Length - 1))}");
        foreach (var row in rows) session.Print($"| {string.Join(" | ", Cells(row, rows[0]))} |");
    }

    private static string[] Cells(DigitRow row, DigitRow first) =>
    [
        row.Name,
        row.Bytes.ToString("N0", CultureInfo.InvariantCulture),
        $"{first.Bytes / (double)row.Bytes:F2}×",
        $"{row.Bits:F3}",
        $"{100 * row.Figures.Agreement:F1} %",
        $"{row.Figures.Frechet:F2}",
        row.Comparison is null ? "reference" : $"{row.PsnrDecibels:F1}",
        row.Comparison is { } comparison ? comparison.EpsMse.ToString("0.0e+0", CultureInfo.InvariantCulture) : "reference",
        $"{row.Figures.Seconds:F1}",
    ];

    private JsonObject Json(List<DigitRow> rows, IDiTBackend backend) => new()
    {
        ["samples"] = settings.Samples,
        ["steps"] = settings.Steps,
        ["cfg_scale"] = settings.GuidanceScale,
        ["seed"] = settings.Seed,
        ["backend"] = backend.Name,
        ["backend_description"] = backend.Description,
        ["models"] = new JsonArray([.. rows.Select(row => (JsonNode)new JsonObject
        {
            ["name"] = row.Name,
            ["bytes"] = row.Bytes,
            ["block_bits_per_weight"] = row.Bits,
            ["agreement"] = row.Figures.Agreement,
            ["frechet_distance"] = JsonNumber.Of(row.Figures.Frechet),
            ["psnr_db"] = row.PsnrDecibels,
            ["eps_mse"] = JsonNumber.Of(row.Comparison?.EpsMse ?? 0),
            ["seconds"] = row.Figures.Seconds,
        })]),
    };

    private string Save(string folder, List<DigitRow> rows, IDiTBackend backend)
    {
        var others = rows.Where(row => row.Comparison is not null).Select(row => (row.Name, row.Comparison!)).ToArray();
        // The reference comes last in charts, so that a candidate has the same colour in all of them.
        var page = new HtmlReport("Digits: size against quality", $"{rows.Count} models draw the same {settings.Samples} digits from the same noise.")
            .Fact("steps", $"{settings.Steps}, DDIM").Fact("guidance scale", $"{settings.GuidanceScale}").Fact("seed", $"{settings.Seed}").Fact("backend", backend.Description)
            .Add(new TableSection("All figures", s_columns, [.. rows.Select(row => (IReadOnlyList<string>)Cells(row, rows[0]))])
            {
                Explanation = "The judge is a classifier of digits; the Fréchet distance is to 9,000 real digits on its features. PSNR and noise error are against the first model.",
            })
            .Add(new ScatterSection(
                "Size against fidelity", new ChartAxis("megabytes of weights"), new ChartAxis("PSNR against the reference, dB"),
                [.. rows.Where(row => row.Comparison is not null).Select(row => new ChartPoint(row.Name, row.Bytes / 1e6, row.PsnrDecibels))])
            {
                Explanation = "Further up and further left is better.",
            })
            .Add(new ScatterSection(
                "Size against quality", new ChartAxis("megabytes of weights"), new ChartAxis("Fréchet distance to real digits"),
                [.. rows.Skip(1).Append(rows[0]).Select(row => new ChartPoint(row.Name, row.Bytes / 1e6, row.Figures.Frechet))])
            {
                Explanation = "Further down and further left is better.",
            });
        if (others.Length > 0) page.Add(ComparisonReport.Blocks(others)).Add(ComparisonReport.Timesteps(others));
        return page.Add(new ImageSection("The same digits by every model", [.. rows.Select(row => (row.Name, ComparisonReport.Sheet(row.Figures.Pixels)))])).Save(folder);
    }
}
