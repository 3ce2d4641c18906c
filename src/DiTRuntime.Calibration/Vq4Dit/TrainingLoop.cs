using System.Diagnostics;
using System.Globalization;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Training;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>One training of some layers, iteration by iteration: steps, checkpoints, state, log.</summary>
/// <param name="task">Who is told, and where the state lies.</param>
/// <param name="schedule">How it goes.</param>
/// <param name="log">Where it is written down.</param>
/// <param name="saveShare">Part of the time that states in the folder may take.</param>
internal sealed class TrainingLoop(CodebookTask task, Vq4DitSchedule schedule, TrainingLog log, double saveShare)
{
    private const string BlockKey = "block", IterationKey = "iteration";
    private const int LinesPerLoop = 20;

    private readonly string _path = task.Folder.TrainingPath("state.safetensors");

    /// <summary>What is trained.</summary>
    /// <param name="Block">The block, or null for the whole model.</param>
    /// <param name="BlockCount">Loops like this one that the training consists of.</param>
    /// <param name="Layers">The layers.</param>
    /// <param name="Step">Takes a step, and gives the loss before it.</param>
    /// <param name="Measure">The error of the layers as they would be kept, on samples that are held out.</param>
    /// <param name="Keep">Keeps the layers as they are.</param>
    /// <param name="Exchange">Takes what belongs to the steps to a state or back.</param>
    public sealed record Work(
        int? Block, int BlockCount, IReadOnlyList<SoftLayer> Layers, Func<int, double> Step, Func<double> Measure, Action Keep, Action<TrainingState> Exchange);

    /// <summary>Trains until the last iteration.</summary>
    /// <param name="work">What to train.</param>
    /// <param name="startError">The error that the layers start from: nothing worse is kept.</param>
    /// <returns>The least error, of which the layers have been kept.</returns>
    public double Run(Work work, double startError)
    {
        var push = new RatioPush();
        double[] errors = [startError, 0, 0];
        var first = TryLoad(work, push, errors);
        var start = Stopwatch.GetTimestamp();
        var states = new SavePace(saveShare);
        for (var iteration = first; iteration < schedule.Iterations; iteration++)
        {
            task.Cancellation.ThrowIfCancellationRequested();
            if (iteration % TeacherTrajectories.StepCount == 0) push.Reset();
            schedule.Prepare(work.Layers, iteration, push.Counts(work.Layers));
            errors[1] += work.Step(iteration);
            errors[2]++;
            var done = iteration + 1;
            double? heldOut = schedule.IsCheckpoint(done) ? work.Measure() : null;
            if (heldOut < errors[0])
            {
                errors[0] = heldOut.Value;
                work.Keep();
            }

            var pace = Stopwatch.GetElapsedTime(start).TotalSeconds / (done - first);
            if (heldOut is not null || done % Math.Max(1, schedule.Iterations / LinesPerLoop) == 0) Write(work, done, errors, heldOut, pace);
            if (states.IsDue) states.Save(() => Save(work, done, push, errors));
            var (before, total) = ((work.Block ?? 0) * schedule.Iterations, work.BlockCount * schedule.Iterations);
            task.Progress?.Report(new QuantizeProgress("training", "iterations", before + done, total));
        }

        return errors[0];
    }

    /// <summary>The log of a run: mean squared error of the blocks' outputs over the iterations since the last line, n·mean(r(1 − r)), share of the vectors whose code is found, error on samples held out where it was measured.</summary>
    public static TrainingLog OpenLog(CodebookTask task) => new(task.Folder.TrainingPath(WorkFolder.LogName), "loss,ratio_loss,frozen_share,held_out_error,seconds_left");

    private void Write(Work work, int done, double[] errors, double? heldOut, double pace)
    {
        var left = (work.BlockCount - (work.Block ?? 0)) * schedule.Iterations - done;
        var frozen = work.Layers.Sum(layer => (double)layer.FrozenCount) / work.Layers.Sum(layer => (double)layer.VectorCount);
        log.Add(work.Block, done, $"{errors[1] / errors[2]:0.000e+00},{work.Layers.Average(layer => layer.RatioLoss):0.0000},{frozen:0.0000},{heldOut:0.000e+00},{pace * left:0}");
        errors[1] = errors[2] = 0;
    }

    private void Save(Work work, int done, RatioPush push, double[] errors)
    {
        var facts = new Dictionary<string, string> { [IterationKey] = done.ToString(CultureInfo.InvariantCulture), [BlockKey] = (work.Block ?? 0).ToString(CultureInfo.InvariantCulture) };
        TrainingState.Save(_path, facts, state => Exchange(work, push, errors, state));
    }

    /// <returns>Iterations that an earlier run has finished.</returns>
    private int TryLoad(Work work, RatioPush push, double[] errors)
    {
        var done = 0;
        if (File.Exists(_path))
        {
            TrainingState.Load(_path, (facts, state) =>
            {
                // A state of the block before: the run was killed between that block's end and this one's first state.
                if (int.Parse(facts[BlockKey], CultureInfo.InvariantCulture) != (work.Block ?? 0)) return;
                done = int.Parse(facts[IterationKey], CultureInfo.InvariantCulture);
                Exchange(work, push, errors, state);
            });
            if (done > 0) task.Note($"training goes on{(work.Block is { } block ? $" in block {block}" : "")} after iteration {done} of {schedule.Iterations}, finished by an earlier run");
        }

        log.Resume(work.Block, done);
        return done;
    }

    private static void Exchange(Work work, RatioPush push, double[] errors, TrainingState state)
    {
        state.Exchange("errors", errors);
        push.Exchange(state);
        foreach (var layer in work.Layers) layer.Exchange(state);
        work.Exchange(state);
    }
}
