using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>
/// Trains all blocks at once: the student runs on its own blocks' outputs, each block's output is held against the teacher's (VQ4DiT, Deng et al. 2024, equations 8 to 10), and
/// a step is taken at every timestep of the teacher's trajectories.
/// </summary>
/// <param name="task">What to work on.</param>
/// <param name="backend">Where students run.</param>
/// <param name="schedule">How it goes.</param>
/// <param name="saveShare">Part of the time that states in the folder may take.</param>
internal sealed class EndToEndTraining(CodebookTask task, ITrainingBackend backend, Vq4DitSchedule schedule, double saveShare)
{
    /// <summary>Trains the model.</summary>
    /// <param name="model">The teacher.</param>
    /// <param name="weights">Its weights.</param>
    /// <param name="heldOut">What results are measured by.</param>
    /// <param name="startError">The error of the model that training starts from.</param>
    /// <returns>The least error, of which the layers have been kept.</returns>
    public double Run(DiTModel model, DiTWeights weights, HeldOutNoise heldOut, double startError)
    {
        var layers = Array.ConvertAll([.. weights.Blocks], block => Array.ConvertAll(BlockLayers.Of(block), layer => Vq4DitTraining.NewLayer(task, layer, schedule.Ratios)));
        SoftLayer[] soft = [.. layers.SelectMany(block => block).OfType<SoftLayer>()];
        using var trajectories = new TeacherTrajectories(model, task.Settings.Seed);
        using var student = new StudentGradient(backend, weights.Config, model.Compatibility, TeacherTrajectories.SampleCount, final: null);
        var loop = new TrainingLoop(task, schedule, TrainingLoop.OpenLog(task), saveShare);
        return loop.Run(
            new TrainingLoop.Work(
                null, 1, soft,
                iteration =>
                {
                    var loss = student.Train(trajectories.Run(iteration) with { PredictionTarget = null }, layers, new LossWeights(Blocks: 1, Noise: 0, Variance: 0));
                    trajectories.GoOn(iteration);
                    return loss.Blocks;
                },
                () => heldOut.Measure(Array.ConvertAll(layers, Vq4DitTraining.AsKept)),
                () => Array.ForEach(soft, layer => task.Folder.SaveTrained(new PackedLayer(layer.ToWeight()))),
                trajectories.Exchange),
            startError);
    }
}
