using System.Globalization;
using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>
/// VQ4DiT (Deng et al. 2024): vectors choose among their nearest codewords, then codewords and biases are trained, with the model itself as the teacher. Nothing is kept that predicts noise worse
/// than what training started from.
/// </summary>
/// <param name="schedule">How it goes; null for what the settings say.</param>
/// <param name="saveShare">Part of the time that states in the folder may take.</param>
internal sealed class Vq4DitTraining(Vq4DitSchedule? schedule = null, double saveShare = SavePace.DefaultShare) : ICodebookTraining
{
    /// <inheritdoc/>
    /// <exception cref="UsageException">The backend has no gradients.</exception>
    public void Run(CodebookTask task)
    {
        if (task.Backend is not ITrainingBackend backend) throw new UsageException($"--backend {task.Backend.Name}: it cannot train; cpu can");
        backend.Cancellation = task.Cancellation;
        var plan = schedule ?? Vq4DitSchedule.For(task.Settings.Codebooks!);
        using var weights = task.Open();
        using var model = new DiTModel(task.Open(), backend, task.Settings.Compatibility, residency: BlockLayers.Residency(weights));
        var set = CalibrationSet.Keep(task.Folder, model, task.Settings, task.Progress);
        var split = SampleSplit.Of(set);
        using var heldOut = new HeldOutNoise(model, weights, backend, set, split.HeldOut);
        var start = heldOut.Measure(Layers(task, weights, Start));
        double end;
        if (task.Settings.Codebooks!.Training == TrainingScope.Model)
        {
            end = new EndToEndTraining(task, backend, plan, saveShare).Run(model, weights, heldOut, start);
        }
        else
        {
            new BlockwiseTraining(task, backend, plan, saveShare).Run(set, split);
            end = heldOut.Measure(Layers(task, weights, (t, layer) => t.Folder.TryLoadTrained(layer.Name)?.Weight ?? Start(t, layer)));
            if (end > start) foreach (var layer in weights.Blocks.SelectMany(BlockLayers.Of).Where(layer => task.Folder.TryLoadTrained(layer.Name) is not null)) task.Folder.SaveTrained(task.Folder.Load(layer.Name));
        }

        task.Note(string.Create(
            CultureInfo.InvariantCulture,
            $"error of the predicted noise on samples held out: {start:0.00e+00} before training, {end:0.00e+00} after{(end < start ? "" : "; what it started from is kept")}"));
    }

    /// <summary>A layer as training finds it.</summary>
    internal static LinearWeight Start(CodebookTask task, LinearWeight original) => task.Plan.FormatOf(original.Name).Weights is null ? original : task.Folder.Load(original.Name).Weight;

    /// <summary>A layer to be trained, or fixed where it has no codebook.</summary>
    internal static ITrainedLayer NewLayer(CodebookTask task, LinearWeight original, RatioRule ratios) => task.Plan.FormatOf(original.Name).Weights is CodebookFormat
        ? new SoftLayer(task.Start(original.Name), original, task.Settings.Codebooks!.Candidates, ratios, task.Workers)
        : new FixedLayer(Start(task, original));

    /// <summary>Layers as they would be kept.</summary>
    internal static ITrainedLayer[] AsKept(IReadOnlyList<ITrainedLayer> layers) => [.. layers.Select(layer => layer is SoftLayer soft ? new FixedLayer(soft.ToWeight()) : layer)];

    private static ITrainedLayer[][] Layers(CodebookTask task, DiTWeights weights, Func<CodebookTask, LinearWeight, LinearWeight> weightOf) =>
        [.. weights.Blocks.Select(block => Array.ConvertAll(BlockLayers.Of(block), layer => (ITrainedLayer)new FixedLayer(weightOf(task, layer))))];
}
