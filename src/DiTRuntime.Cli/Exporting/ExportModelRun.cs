using System.Text.Json.Nodes;
using DiTRuntime.Exporter;
using DiTRuntime.Models;

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
        ExportResult? result = null;
        session.WithProgress(display => result = ModelExport.Write(
            source, settings, new DirectProgress<ExportProgress>(step => display.Report(step.Stage, "%", 100 * step.Fraction, 100)), session.Cancellation));
        Report(result!);
    }

    private void Report(ExportResult result)
    {
        if (session.Json)
        {
            session.Print(new JsonObject
            {
                ["folder"] = result.Folder,
                ["files"] = new JsonArray([.. result.Files.Select(file => (JsonNode)new JsonObject { ["file"] = file.Name, ["bytes"] = file.Bytes })]),
                ["memory"] = result.Memory,
            });
            return;
        }

        foreach (var (name, bytes) in result.Files) session.Detail($"{name}: {bytes:N0} bytes");
        foreach (var line in result.MemoryLines) session.Print(line);
        session.Print(result.Folder);
    }
}
