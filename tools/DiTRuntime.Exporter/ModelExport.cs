using DiTRuntime.Exporter.Cuda;
using DiTRuntime.Exporter.Decoding;
using DiTRuntime.Exporter.Files;
using DiTRuntime.Exporter.Folder;

namespace DiTRuntime.Exporter;

/// <summary>What an export is doing.</summary>
/// <param name="Stage">In a word: "weights", "golden vectors".</param>
/// <param name="Fraction">How much of the stage is done.</param>
public readonly record struct ExportProgress(string Stage, double Fraction);

/// <summary>Makes the folder.</summary>
public static class ModelExport
{
    /// <summary>Exports a model.</summary>
    /// <param name="source">What.</param>
    /// <param name="settings">How.</param>
    /// <param name="progress">Told how far it is.</param>
    /// <param name="cancellation">Ends the work; nothing is left.</param>
    /// <exception cref="UsageException">Settings that contradict each other or the model.</exception>
    /// <exception cref="InvalidFileException">The model or the decoder is damaged.</exception>
    /// <exception cref="OutputException">The folder cannot be written.</exception>
    public static void Write(ExportSource source, ExportSettings settings, IProgress<ExportProgress>? progress = null, CancellationToken cancellation = default)
    {
        FolderWriter.Check(settings.OutputFolder, settings.Force);
        using var weights = source.OpenWeights();
        var run = ExportRun.Of(settings, weights.Config);
        using var decoder = DecoderTrace.Of(source.DecoderPath, weights.Config);
        FolderWriter.Write(settings.OutputFolder, settings.Force, folder =>
        {
            if (settings.Target == ExportTarget.Cuda)
            {
                CudaExport.Write(source, settings, folder, cancellation);
                return;
            }

            WeightsWriter.Write(
                Path.Combine(folder, FolderWriter.WeightsName), weights, decoder, settings.Compatibility, run.FilePlan(settings.Batch, run.Plan.Steps.Length * (settings.Batch + 1)),
                Stage(progress, "weights"), cancellation);
        });
    }

    private static StageProgress? Stage(IProgress<ExportProgress>? progress, string name) => progress is null ? null : new StageProgress(progress, name);

    private sealed class StageProgress(IProgress<ExportProgress> all, string name) : IProgress<double>
    {
        public void Report(double value) => all.Report(new ExportProgress(name, value));
    }
}
