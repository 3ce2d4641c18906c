using System.Text.Json.Nodes;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Exporter.Cuda;
using DiTRuntime.Exporter.Folder;
using DiTRuntime.Exporter.Goldens;
using DiTRuntime.Exporter.Planning;
using DiTRuntime.Models;

namespace DiTRuntime.Exporter;

/// <summary>What an export is doing.</summary>
/// <param name="Stage">In a word: "weights", "golden vectors".</param>
/// <param name="Fraction">How much of the stage is done.</param>
public readonly record struct ExportProgress(string Stage, double Fraction);

/// <summary>What was made.</summary>
/// <param name="Folder">The folder, as it was asked for.</param>
/// <param name="Files">Its files and their bytes.</param>
/// <param name="Memory">What the memory is for, as in memory.json.</param>
/// <param name="MemoryLines">The same for people.</param>
public sealed record ExportResult(string Folder, IReadOnlyList<(string Name, long Bytes)> Files, JsonObject Memory, IReadOnlyList<string> MemoryLines);

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
    /// <exception cref="ExportMemoryException">No plan stays below the limit.</exception>
    /// <exception cref="OutputException">The folder cannot be written.</exception>
    public static ExportResult Write(ExportSource source, ExportSettings settings, IProgress<ExportProgress>? progress = null, CancellationToken cancellation = default)
    {
        FolderWriter.Check(settings.OutputFolder, settings.Force);
        using var weights = source.OpenWeights();
        var run = ExportRun.Of(settings, weights.Config);
        using IWeightsExport planned = settings.Target == ExportTarget.Cuda ? new CudaWeights(source, settings, weights) : PlannedFile.Of(source, settings, weights, run);
        var contents = new FolderContents(source, settings, run, weights, planned.Decoder);
        IMemoryPlan? memory = null;
        FolderWriter.Write(settings.OutputFolder, settings.Force, folder =>
        {
            memory = planned.Write(folder, Stage(progress, "weights"), cancellation);
            WriteGoldens(Path.Combine(folder, GoldenWriter.FileName), source, settings, planned.TileSide, weights, run, progress, cancellation);
            contents.Write(folder, memory.Json(), memory.Markdown());
        });
        return new ExportResult(settings.OutputFolder, FilesOf(settings.OutputFolder), memory!.Json(), [.. memory.Lines()]);
    }

    /// <summary>The C# backend makes what `verify` compares with, on this machine's processor.</summary>
    private static void WriteGoldens(
        string path, ExportSource source, ExportSettings settings, int tileSide, DiTWeights weights, ExportRun run, IProgress<ExportProgress>? progress, CancellationToken cancellation)
    {
        using var backend = CpuBackend.Create(new CpuOptions());
        var golden = new GoldenRun(source, settings, tileSide).Execute(backend, Stage(progress, "golden vectors"), cancellation);
        GoldenWriter.Write(path, golden, run, weights, settings.Target == ExportTarget.Cuda);
    }

    private static (string Name, long Bytes)[] FilesOf(string folder) =>
    [
        .. Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
            .Select(file => (Path.GetRelativePath(folder, file).Replace('\\', '/'), new FileInfo(file).Length))
            .OrderBy(file => file.Item1, StringComparer.Ordinal),
    ];

    private static StageProgress? Stage(IProgress<ExportProgress>? progress, string name) => progress is null ? null : new StageProgress(progress, name);

    private sealed class StageProgress(IProgress<ExportProgress> all, string name) : IProgress<double>
    {
        public void Report(double value) => all.Report(new ExportProgress(name, value));
    }
}
