using System.Globalization;
using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Quantization;
using DiTRuntime.Sampling;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>
/// Trains one block after the other in the memory of one: it reads what the trained blocks before it make of the calibration samples, and shall make of that what the teacher's block
/// makes of the teacher's.
/// </summary>
/// <param name="task">What to work on.</param>
/// <param name="backend">Where blocks are trained.</param>
/// <param name="schedule">How it goes.</param>
/// <param name="saveShare">Part of the time that states in the folder may take.</param>
internal sealed class BlockwiseTraining(CodebookTask task, ITrainingBackend backend, Vq4DitSchedule schedule, double saveShare)
{
    /// <summary>Samples of a step.</summary>
    public const int BatchSize = 8;

    private const string BlockKey = "block";

    private readonly string _path = task.Folder.TrainingPath("streams.safetensors");

    /// <summary>Trains the model.</summary>
    /// <param name="set">The calibration samples.</param>
    /// <param name="split">Which of them are held out.</param>
    public void Run(CalibrationSet set, SampleSplit split)
    {
        using var teacher = Begin(set);
        using var student = Begin(set);
        var conditions = student.ModulationInputs((set.Timesteps, set.Labels));
        var first = Load(teacher, student, set);
        using var trainer = new BlockTrainer(backend, task.Plan.Config, task.Settings.Compatibility, BatchSize);
        var log = TrainingLoop.OpenLog(task);
        for (var block = first; block < task.Plan.Config.Depth; block++)
        {
            using var weights = task.Open();
            var originals = BlockLayers.Of(weights.Blocks[block]);
            Pass(teacher, originals);
            TrainBlock(block, originals, new BlockSamples(student.Tokens, teacher.Tokens, conditions), split, trainer, log);
            Pass(student, Array.ConvertAll(originals, Result));
            TrainingState.Save(_path, new Dictionary<string, string> { [BlockKey] = (block + 1).ToString(CultureInfo.InvariantCulture) }, state => Exchange(teacher, student, state));
        }
    }

    private CalibrationRun Begin(CalibrationSet set)
    {
        using var weights = task.Open();
        return new CalibrationRun(weights, task.Backend, task.Workers, task.Settings.Compatibility, set);
    }

    /// <returns>The block to go on with.</returns>
    private int Load(CalibrationRun teacher, CalibrationRun student, CalibrationSet set)
    {
        var block = 0;
        if (File.Exists(_path))
        {
            TrainingState.Load(_path, (facts, state) =>
            {
                block = int.Parse(facts[BlockKey], CultureInfo.InvariantCulture);
                Exchange(teacher, student, state);
            });
            task.Note($"training goes on after block {block} of {task.Plan.Config.Depth}, finished by an earlier run");
        }
        else
        {
            teacher.Embed(set);
            student.Embed(set);
        }

        return block;
    }

    private static void Exchange(CalibrationRun teacher, CalibrationRun student, TrainingState state)
    {
        foreach (var (name, tokens) in new[] { ("teacher", teacher.Tokens), ("student", student.Tokens) })
            for (var sample = 0; sample < tokens.SampleCount; sample++)
            {
                var at = sample;
                state.Exchange($"{name}.{sample}", tokens.SampleLength, () => tokens.Samples(at, 1));
            }
    }

    private static void Pass(CalibrationRun run, LinearWeight[] layers)
    {
        run.Modulate(layers[TrainingBlock.Modulation]);
        run.RunBlock(layers[1..], new ActivationFormat?[layers.Length - 1], observer: null, keeps: true);
    }

    private void TrainBlock(int block, LinearWeight[] originals, BlockSamples samples, SampleSplit split, BlockTrainer trainer, TrainingLog log)
    {
        var layers = Array.ConvertAll(originals, original => Vq4DitTraining.NewLayer(task, original, schedule.Ratios));
        SoftLayer[] soft = [.. layers.OfType<SoftLayer>()];
        var start = trainer.Measure(Array.ConvertAll(originals, original => new FixedLayer(Vq4DitTraining.Start(task, original))), samples, split.HeldOut);
        var order = new int[split.Trained.Length];
        var loop = new TrainingLoop(task, schedule, log, saveShare);
        var error = loop.Run(
            new TrainingLoop.Work(
                block, task.Plan.Config.Depth, soft,
                iteration => trainer.Step(layers, samples, Batch(block, iteration, split.Trained, order)),
                () => trainer.Measure(Vq4DitTraining.AsKept(layers), samples, split.HeldOut),
                () => Array.ForEach(soft, layer => task.Folder.SaveTrained(new PackedLayer(layer.ToWeight()))),
                _ => { }),
            start);
        task.Note(string.Create(CultureInfo.InvariantCulture, $"block {block}: error of its output on samples held out {start:0.00e+00} before training, {error:0.00e+00} after"));
    }

    private LinearWeight Result(LinearWeight original) => task.Folder.TryLoadTrained(original.Name)?.Weight ?? Vq4DitTraining.Start(task, original);

    /// <summary>All samples in a new order, then again in another: what an iteration reads depends on its number alone.</summary>
    private int[] Batch(int block, int iteration, int[] samples, int[] order)
    {
        var batch = new int[BatchSize];
        var shuffled = -1;
        for (var i = 0; i < BatchSize; i++)
        {
            var (epoch, place) = Math.DivRem((long)iteration * BatchSize + i, samples.Length);
            if (epoch != shuffled)
            {
                samples.CopyTo(order, 0);
                var random = new TorchGenerator(unchecked((task.Settings.Seed * 1_000_003 + (ulong)block) * 1_000_003 + (ulong)epoch));
                for (var n = order.Length - 1; n > 0; n--)
                {
                    var other = random.NextInt((uint)n + 1);
                    (order[n], order[other]) = (order[other], order[n]);
                }

                shuffled = (int)epoch;
            }

            batch[i] = order[place];
        }

        return batch;
    }
}
