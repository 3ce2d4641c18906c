using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>
/// What a model sees while it samples: (x_t, t, y) triples from its own trajectories (Q-DiT, Chen et al. 2024, section 4.1). No images are needed.
/// </summary>
/// <remarks>
/// DDIM over 50 timesteps, guidance 1.5. Each trajectory has a class of its own and gives up to 16 samples, at different random timesteps; every second one is taken
/// with the null class, because guided sampling runs the model as often without the class as with it.
/// </remarks>
internal sealed class CalibrationSet
{
    /// <summary>Timesteps of a trajectory.</summary>
    public const int StepCount = 50;

    /// <summary>s.</summary>
    public const float GuidanceScale = 1.5f;

    private const int MinTrajectories = 16;
    private const int MaxSamplesPerTrajectory = 16;

    /// <summary>Trajectories that are sampled together.</summary>
    private const int BatchSize = 16;

    /// <summary>Names of the tensors in a file.</summary>
    private const string LatentsName = "x", TimestepsName = "t", LabelsName = "y", ClassesName = "classes";

    private CalibrationSet(float[] latents, int[] timesteps, int[] labels, int[] classes) => (Latents, Timesteps, Labels, Classes) = (latents, timesteps, labels, classes);

    /// <summary>x [n, C, S, S].</summary>
    public float[] Latents { get; }

    /// <summary>t [n].</summary>
    public int[] Timesteps { get; }

    /// <summary>y [n].</summary>
    public int[] Labels { get; }

    /// <summary>The class of each trajectory.</summary>
    public int[] Classes { get; }

    /// <summary>n.</summary>
    public int Count => Timesteps.Length;

    /// <summary>Some of the samples.</summary>
    public CalibrationSet Take(int[] chosen)
    {
        var length = Latents.Length / Count;
        return new CalibrationSet([.. chosen.SelectMany(i => Latents[(i * length)..((i + 1) * length)])], Array.ConvertAll(chosen, i => Timesteps[i]), Array.ConvertAll(chosen, i => Labels[i]), Classes);
    }

    /// <summary>Every (timestep, class) pair that the trajectories passed, with the class and without: the inputs of adaLN.</summary>
    /// <param name="nullClass">The class that stands for none.</param>
    public (int[] Timesteps, int[] Labels) Pairs(int nullClass)
    {
        var steps = Plan().Steps.ToArray();
        return ([.. Classes.SelectMany(_ => steps.SelectMany(s => new[] { s.Timestep, s.Timestep }))],
            [.. Classes.SelectMany(c => steps.SelectMany(_ => new[] { c, nullClass }))]);
    }

    /// <summary>Samples trajectories and keeps a part of what they pass.</summary>
    /// <param name="model">The model in floating point.</param>
    /// <param name="count">n.</param>
    /// <param name="seed">Seed of classes, timesteps and noise.</param>
    /// <param name="progress">Told the fraction that is done.</param>
    public static CalibrationSet Sample(DiTModel model, int count, ulong seed, IProgress<double>? progress = null)
    {
        var config = model.Config;
        var random = new TorchGenerator(seed);
        var classes = new int[Math.Max(Math.Min(count, MinTrajectories), (count + MaxSamplesPerTrajectory - 1) / MaxSamplesPerTrajectory)];
        foreach (ref var label in classes.AsSpan()) label = (int)random.NextInt((uint)config.ClassCount);
        var plan = Plan();
        var picks = Pick(random, classes.Length, count, plan.Steps.Length);
        var guidedChannels = model.Compatibility.GuidedChannels(config);
        var settings = new SamplingSettings(plan, new ImageNoise(random.NextUInt32()), GuidanceScale, guidedChannels);
        var set = new CalibrationSet(new float[count * config.LatentCount], new int[count], new int[count], classes);
        var latents = new float[BatchSize * config.LatentCount];
        var filled = 0;
        for (var first = 0; first < classes.Length; first += BatchSize)
        {
            var images = Enumerable.Range(first, Math.Min(BatchSize, classes.Length - first)).ToArray();
            using var batch = new SamplingBatch(model, settings, images, classes.AsSpan(first, images.Length));
            for (var step = 0; step < plan.Steps.Length; step++)
            {
                batch.Read(latents.AsSpan(0, images.Length * config.LatentCount));
                foreach (var image in images.Where(i => picks[i].Contains(step)))
                {
                    latents.AsSpan((image - first) * config.LatentCount, config.LatentCount).CopyTo(set.Latents.AsSpan(filled * config.LatentCount));
                    set.Timesteps[filled] = plan.Steps[step].Timestep;
                    set.Labels[filled] = filled % 2 == 0 ? classes[image] : config.NullClass;
                    filled++;
                }

                batch.Step();
                progress?.Report((first * plan.Steps.Length + (step + 1.0) * images.Length) / (classes.Length * plan.Steps.Length));
            }
        }

        return set;
    }

    /// <summary>The samples of a calibration: those that an earlier run has left in its folder, else new ones, which are kept there.</summary>
    /// <param name="folder">The folder of unfinished work.</param>
    /// <param name="model">The model in floating point.</param>
    /// <param name="settings">How many, and their seed.</param>
    /// <param name="progress">Told what is being done.</param>
    public static CalibrationSet Keep(WorkFolder folder, DiTModel model, QuantizeSettings settings, IProgress<QuantizeProgress>? progress)
    {
        if (folder.HasSamples) return Load(folder.SamplesPath);
        var set = Sample(model, settings.SampleCount, settings.Seed, new Relay<double>(done => progress?.Report(new QuantizeProgress("sampling trajectories", "%", 100 * done, 100))));
        set.Save(folder.SamplesPath, model.Config);
        return set;
    }

    /// <summary>Writes the set, whole or not at all.</summary>
    public void Save(string path, DiTConfig config) => AtomicFile.Write(path, stream => SafetensorsWriter.Write(stream, new Dictionary<string, string>(),
    [
        TensorValues.Of(LatentsName, [Count, config.InChannels, config.InputSize, config.InputSize], Latents),
        TensorValues.Of(TimestepsName, [Count], Numbers(Timesteps)),
        TensorValues.Of(LabelsName, [Count], Numbers(Labels)),
        TensorValues.Of(ClassesName, [Classes.Length], Numbers(Classes)),
    ]));

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <exception cref="InvalidFileException">It is not that.</exception>
    public static CalibrationSet Load(string path)
    {
        using var checkpoint = Checkpoint.Open(path);
        float[] Read(string name) => checkpoint.TryGet(name, out var tensor) ? tensor.ToArray() : throw new InvalidFileException(path, $"no tensor {name}: calibration samples were expected");
        int[] Integers(string name) => Array.ConvertAll(Read(name), value => (int)value);
        return new CalibrationSet(Read(LatentsName), Integers(TimestepsName), Integers(LabelsName), Integers(ClassesName));
    }

    private static SamplingPlan Plan() => SamplingPlan.Ddim(TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), StepCount), eta: 0);

    /// <summary>Which steps each trajectory gives: without repetition, and as evenly shared out as the count allows.</summary>
    private static HashSet<int>[] Pick(TorchGenerator random, int trajectories, int count, int steps)
    {
        var picks = new HashSet<int>[trajectories];
        for (var i = 0; i < trajectories; i++)
        {
            picks[i] = [];
            var wanted = count / trajectories + (i < count % trajectories ? 1 : 0);
            while (picks[i].Count < wanted) picks[i].Add((int)random.NextInt((uint)steps));
        }

        return picks;
    }

    private static float[] Numbers(int[] values) => Array.ConvertAll(values, value => (float)value);
}
