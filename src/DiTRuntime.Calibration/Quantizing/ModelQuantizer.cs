using System.Diagnostics;
using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Dpq;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Vq4Dit;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>Turns a checkpoint into a packed file.</summary>
/// <remarks>
/// Without calibration one layer is in memory at a time. With it, blocks are quantized first to last; each sees the inputs that the quantized blocks before it
/// make, and what is finished is kept in a folder beside the output until the file is whole. Same model, settings and backend: same file, on any number of threads.
/// </remarks>
/// <param name="open">Opens the model; called again from time to time, so that no more of the mapped file stays in memory than is worked on.</param>
/// <param name="backend">Runs the model where calibration needs it.</param>
/// <param name="threadCount">Threads, or 0 for one per processor.</param>
/// <param name="note">Told what the user should know: that earlier work is taken up or dropped.</param>
public sealed class ModelQuantizer(Func<DiTWeights> open, IDiTBackend backend, int threadCount, Action<string> note)
{
    /// <summary>Quantizes the model.</summary>
    /// <param name="settings">What to do.</param>
    /// <param name="output">Where the packed file shall be; it appears whole or not at all.</param>
    /// <param name="progress">Told what is being done.</param>
    /// <param name="cancellation">Ends the work; what is finished is kept for the next run.</param>
    /// <exception cref="UsageException">Settings that do not fit the model.</exception>
    /// <exception cref="InvalidFileException">The model cannot be read, or the folder of unfinished work is damaged.</exception>
    /// <exception cref="OutputException">The output cannot be written.</exception>
    public QuantizeReport Run(QuantizeSettings settings, string output, IProgress<QuantizeProgress>? progress = null, CancellationToken cancellation = default)
    {
        var start = Stopwatch.GetTimestamp();
        using var workers = new Workers(threadCount, cancellation);
        using var weights = open();
        var plan = settings.Plan(weights.Config);
        var training = TrainingOf(settings);
        training?.Check(settings, weights.Config);
        using var clustering = settings.Codebooks is null || backend is IClusteringBackend ? null : CpuBackend.Create(new CpuOptions(threadCount));
        var packer = new LayerPacker(workers, settings.Range, settings.Codebooks is null ? null : new CodebookQuantizer(clustering ?? (IClusteringBackend)backend, workers, settings.Seed));
        var finished = new Dictionary<string, LayerReport>(StringComparer.Ordinal);
        WorkFolder? folder = null;
        var resumed = 0;
        if (settings.NeedsCalibration || training is not null)
            folder = WorkFolder.Open(output, $"{settings.MethodJson()}\n{plan.LayersJson()}\n{ContentHash.Of(weights.Checkpoint)} {backend.Name}\n", note);
        if (settings.NeedsCalibration)
        {
            var calibration = new BlockCalibration(settings, plan, open, backend, workers, packer, folder!, progress);
            resumed = calibration.Run(LoadSamples(settings, weights.Config, folder!, progress), note);
            foreach (var layer in calibration.Layers) finished.Add(layer.Name, layer);
        }

        if (training is not null)
        {
            PackRest(weights, plan, packer, folder!, progress);
            training.Run(new CodebookTask(settings, plan, open, backend, workers, folder!, note, progress, cancellation));
        }

        var layers = new List<LayerReport>();
        PackedModelWriter.Write(output, weights, plan, Pack, settings.MethodJson(), progress: null, cancellation);
        folder?.KeepLog();
        folder?.Delete();
        return new QuantizeReport(layers, new FileInfo(output).Length, weights.ParameterCount, Stopwatch.GetElapsedTime(start).TotalSeconds, resumed);

        PackedLayer Pack(LinearWeight weight)
        {
            var (layer, report) = Finished(weight) ?? packer.Pack(weight, plan.FormatOf(weight.Name).Weights!, plan.FormatOf(weight.Name).DynamicActivations);
            layers.Add(report);
            if (!finished.ContainsKey(weight.Name)) progress?.Report(new QuantizeProgress("quantizing", "layers", layers.Count, plan.PackedLayers.Count()));
            return layer;
        }

        (PackedLayer Layer, LayerReport Report)? Finished(LinearWeight weight)
        {
            if (training is not null)
            {
                var layer = folder!.TryLoadTrained(weight.Name) ?? folder.Load(weight.Name);
                return (layer, packer.Measure(weight, layer));
            }

            return finished.TryGetValue(weight.Name, out var known) ? (folder!.Load(weight.Name), known) : null;
        }
    }

    /// <summary>The training of a method that has one, else null.</summary>
    private static ICodebookTraining? TrainingOf(QuantizeSettings settings) => settings.Method switch
    {
        QuantizeMethod.Vq4Dit => new Vq4DitTraining(),
        QuantizeMethod.Dpq => new DpqTraining(),
        _ => null,
    };

    /// <summary>Quantizes the layers that a training starts from and calibration has not made.</summary>
    private static void PackRest(DiTWeights weights, PackedModelPlan plan, LayerPacker packer, WorkFolder folder, IProgress<QuantizeProgress>? progress)
    {
        LinearWeight[] packed = [.. weights.Layers.Where(layer => plan.FormatOf(layer.Name).Weights is not null)];
        for (var i = 0; i < packed.Length; i++)
        {
            var format = plan.FormatOf(packed[i].Name);
            if (!folder.Has(packed[i].Name)) folder.Save(packer.Pack(packed[i], format.Weights!, format.DynamicActivations).Layer);
            progress?.Report(new QuantizeProgress("quantizing", "layers", i + 1, packed.Length));
        }
    }

    private CalibrationSet LoadSamples(QuantizeSettings settings, DiTConfig config, WorkFolder folder, IProgress<QuantizeProgress>? progress)
    {
        if ((long)settings.SampleCount * config.TokenCount * config.HiddenSize > int.MaxValue)
            throw new UsageException($"--samples {settings.SampleCount}: at most {int.MaxValue / (config.TokenCount * config.HiddenSize)} of this model's size can be kept");
        if (folder.HasSamples) return CalibrationSet.Load(folder.SamplesPath);
        var weights = open();
        using var model = new DiTModel(weights, backend, settings.Compatibility, residency: BlockLayers.Residency(weights));
        return CalibrationSet.Keep(folder, model, settings, progress);
    }
}

/// <summary>Calls back on the reporting thread, at once.</summary>
internal sealed class Relay<T>(Action<T> report) : IProgress<T>
{
    /// <inheritdoc/>
    public void Report(T value) => report(value);
}
