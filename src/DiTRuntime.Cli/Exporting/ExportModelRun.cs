using DiTRuntime.Exporter;

namespace DiTRuntime.Cli.Exporting;

/// <summary>One run of <c>dit export</c>.</summary>
internal sealed class ExportModelRun(Session session, ExportSettings settings)
{
    /// <summary>Exports, and says what was made.</summary>
    /// <param name="model">File or folder of the model.</param>
    /// <param name="vae">Its decoder, where it is not in the model's own folder.</param>
    /// <param name="heads">Attention heads, where the file does not say.</param>
    /// <param name="imageSize">Side of the images, where it is not the model's own.</param>
    public void Execute(string model, string? vae, int? heads, int? imageSize)
    {
        string? decoder;
        using (var weights = ModelSource.Open(model, heads, imageSize))
        {
            decoder = vae is null && ModelSource.IsPixelSpace(weights.Config) ? null : ModelSource.DecoderPath(model, vae, weights.Config);
            foreach (var remark in weights.Remarks) session.Detail($"{model}: {remark}");
        }

        var source = new ExportSource(ModelSource.NameOf(model), () => ModelSource.Open(model, heads, imageSize), decoder);
        session.WithProgress(display => ModelExport.Write(
            source, settings, new DirectProgress<ExportProgress>(step => display.Report(step.Stage, "%", 100 * step.Fraction, 100)), session.Cancellation));
        session.Print(settings.OutputFolder);
    }
}
