using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Calibration.Reporting;
using DiTRuntime.Imaging;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Evaluation;

/// <summary>Pages about comparisons of models.</summary>
internal static class ComparisonReport
{
    /// <summary>Images of a sheet.</summary>
    private const int SheetImages = 40;

    private const int SheetColumns = 10;

    /// <summary>Tries that the page can be written.</summary>
    public static void Prepare(string folder) => HtmlReport.Prepare(folder);

    /// <summary>Writes the page of <c>dit verify</c>.</summary>
    /// <returns>Its path.</returns>
    public static string Save(string folder, VerifyOptions options, ComparisonResult result)
    {
        var name = ModelSource.NameOf(options.Candidate);
        var report = new HtmlReport($"{name} against {ModelSource.NameOf(options.Reference)}", "The same noise through both models: what differs, where, and when.")
            .Fact("images", $"{options.Settings.Samples}").Fact("steps", $"{options.Settings.Steps}, DDIM")
            .Fact("guidance scale", $"{options.Settings.GuidanceScale}").Fact("seed", $"{options.Settings.Seed}")
            .Fact("noise error (MSE)", $"{result.EpsMse:0.00e+0}").Fact("final latents", $"{result.FinalLatentSnrDecibels:F1} dB SNR")
            .Fact("images, PSNR", result.ImagePsnrDecibels is { } psnr ? $"{psnr:F1} dB" : "not compared")
            .Add(Blocks([(name, result)])).Add(Timesteps([(name, result)]));
        if (result.Images.Count > 0)
        {
            report.Add(new ImageSection("Images", [
                (ModelSource.NameOf(options.Reference), Sheet(result.Images.Select(pair => pair.Reference))), (name, Sheet(result.Images.Select(pair => pair.Candidate)))])
            {
                Explanation = "The same places started from the same noise.",
            });
        }

        return report.Save(folder);
    }

    /// <summary>Signal over error after every block.</summary>
    public static BarSection Blocks(IReadOnlyList<(string Name, ComparisonResult Result)> models) => new(
        "Signal over error, block by block",
        "block",
        new ChartAxis("SNR, dB"),
        [.. models[0].Result.Blocks.Select(block => $"{block.Index}")],
        [.. models.Select(model => new ChartSeries(model.Name, [.. model.Result.Blocks.Select(block => (0.0, block.SnrDecibels))]))])
    {
        Explanation = "What leaves each block, on the reference's latents; higher is better. 200 dB means no difference.",
    };

    /// <summary>Noise error over time.</summary>
    public static LineSection Timesteps(IReadOnlyList<(string Name, ComparisonResult Result)> models) => new(
        "Error of the predicted noise over timesteps",
        new ChartAxis("timestep (999 is pure noise)"),
        new ChartAxis("mean squared error", IsLogarithmic: true),
        [.. models.Select(model => new ChartSeries(model.Name, [.. model.Result.Timesteps.Select(step => ((double)step.Timestep, step.EpsMse))]))])
    {
        Explanation = "Both models predict for the reference's latents; lower is better.",
    };

    /// <summary>Images on one sheet.</summary>
    /// <param name="pixels">Square images [side, side, channels] in [−1, 1]; the first forty are shown.</param>
    public static Image Sheet(IEnumerable<float[]> pixels)
    {
        var images = pixels.Take(SheetImages).Select(values =>
        {
            // A square number is a grey image's; no square is three times another.
            var side = (int)Math.Round(Math.Sqrt(values.Length));
            var channels = side * side == values.Length ? 1 : 3;
            if (channels == 3) side = (int)Math.Round(Math.Sqrt(values.Length / 3.0));
            return PixelConversion.ToImage(values, side, side, channels);
        }).ToArray();
        return ImageGrid.Compose(images, Math.Min(SheetColumns, images.Length), padding: 1);
    }
}
