using DiTRuntime.Backends;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Calibration.Dpq;

/// <summary>Gives the batches of a training, one after the other; what a batch holds follows from its number and the state alone.</summary>
internal interface ITrainingBatches : IDisposable
{
    /// <summary>Rows of a batch.</summary>
    int RowCount { get; }

    /// <summary>What the next batch follows from, besides its number; may be written to.</summary>
    float[] State { get; }

    /// <summary>The next batch to learn from.</summary>
    /// <param name="number">Which: 0, 1, 2, ... or again from where <see cref="State"/> was taken.</param>
    StudentBatch Next(long number);
}

/// <summary>The user's samples at random noise levels (Ho et al. 2020, algorithm 1): x_t = √ᾱ x₀ + √(1−ᾱ) ε.</summary>
/// <remarks>
/// The noise to be predicted is halfway between ε and what the teacher predicts, which has the same mean and less spread where the teacher is good;
/// variances are the teacher's. One row of ten has no class.
/// </remarks>
/// <param name="teacher">The model in floating point, for <paramref name="rowCount"/> images of a row each.</param>
/// <param name="config">The architecture.</param>
/// <param name="data">The samples.</param>
/// <param name="rowCount">B.</param>
/// <param name="seed">Of everything that is drawn.</param>
/// <param name="teacherPart">What the teacher's prediction counts against ε: 0 to 1.</param>
internal sealed class DataBatches(Teacher teacher, DiTConfig config, TrainingData data, int rowCount, ulong seed, float teacherPart) : ITrainingBatches
{
    private const int DroppedOf = 10;

    private readonly NoiseSchedule _schedule = NoiseSchedule.Linear();

    /// <inheritdoc/>
    public int RowCount => rowCount;

    /// <inheritdoc/>
    public float[] State => [];

    /// <inheritdoc/>
    public StudentBatch Next(long number)
    {
        var random = new TorchGenerator(Seeds.Of(seed, number));
        var (latents, noise) = (new float[rowCount * config.LatentCount], new float[config.LatentCount]);
        var (timesteps, labels) = (new int[rowCount], new int[rowCount]);
        var all = new float[latents.Length];
        for (var row = 0; row < rowCount; row++)
        {
            var sample = (int)random.NextInt((uint)data.Count);
            timesteps[row] = (int)random.NextInt(NoiseSchedule.TrainingSteps);
            labels[row] = random.NextInt(DroppedOf) == 0 ? config.NullClass : data.LabelOf(sample);
            random.Normal(noise);
            var (signal, spread) = ((float)Math.Sqrt(_schedule.AlphasCumprod[timesteps[row]]), (float)Math.Sqrt(1 - _schedule.AlphasCumprod[timesteps[row]]));
            var clean = data.Sample(sample);
            var latent = latents.AsSpan(row * config.LatentCount, config.LatentCount);
            for (var i = 0; i < latent.Length; i++) latent[i] = signal * clean[i] + spread * noise[i];
            noise.CopyTo(all, row * config.LatentCount);
        }

        var batch = teacher.Run(latents, timesteps, labels);
        MixNoise(all, batch.PredictionTarget!);
        return batch;
    }

    /// <inheritdoc/>
    public void Dispose() => teacher.Dispose();

    /// <summary>Brings ε [B, C, S, S] into the noise channels of a prediction in patches [B, T, p·p·Cout].</summary>
    private void MixNoise(float[] noise, float[] prediction)
    {
        var (side, patch, channels) = (config.InputSize, config.PatchSize, config.InChannels);
        var across = side / patch;
        for (var row = 0; row < rowCount; row++)
        {
            for (var c = 0; c < channels; c++)
            {
                for (var y = 0; y < side; y++)
                {
                    for (var x = 0; x < side; x++)
                    {
                        var token = y / patch * across + x / patch;
                        ref var target = ref prediction[((row * across * across + token) * patch * patch + y % patch * patch + x % patch) * config.OutChannels + c];
                        target += (1 - teacherPart) * (noise[((row * channels + c) * side + y) * side + x] - target);
                    }
                }
            }
        }
    }
}

/// <summary>
/// What the teacher passes while it samples (as VQ4DiT, Deng et al. 2024, without data): DDIM trajectories with guidance, one for each image, each at another of the 50 timesteps, so that a batch
/// holds all noise levels. A trajectory that ends makes room for a new one.
/// </summary>
internal sealed class TrajectoryBatches : ITrainingBatches
{
    private const float GuidanceScale = 1.5f;

    private readonly Teacher _teacher;
    private readonly DiTModel _model;
    private readonly SamplingPlan _plan;
    private readonly int _imageCount;
    private readonly ulong _seed;

    /// <param name="teacher">The model in floating point, for so many images of two rows each.</param>
    /// <param name="model">The same.</param>
    /// <param name="imageCount">Trajectories side by side.</param>
    /// <param name="seed">Of classes and noise.</param>
    public TrajectoryBatches(Teacher teacher, DiTModel model, int imageCount, ulong seed)
    {
        (_teacher, _model, _imageCount, _seed) = (teacher, model, imageCount, seed);
        _plan = SamplingPlan.Ddim(TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 50), eta: 0);
        State = new float[imageCount * model.Config.LatentCount];
        // An image that begins in the middle begins at its end: until then it holds plain noise of that level, which a trajectory of no picture passes.
        for (var image = 0; image < imageCount; image++) Begin(image, 0);
    }

    /// <inheritdoc/>
    public int RowCount => 2 * _imageCount;

    /// <summary>x of every image.</summary>
    public float[] State { get; }

    /// <inheritdoc/>
    public StudentBatch Next(long number)
    {
        var config = _model.Config;
        var (timesteps, labels) = (new int[RowCount], new int[RowCount]);
        var updates = new SampleUpdate[_imageCount];
        for (var image = 0; image < _imageCount; image++)
        {
            var (lap, place) = Place(image, number);
            if (place == 0) Begin(image, lap);
            var step = _plan.Steps[place];
            timesteps[2 * image] = timesteps[2 * image + 1] = step.Timestep;
            (labels[2 * image], labels[2 * image + 1]) = ((int)new TorchGenerator(Seeds.Of(_seed, Trajectory(image, lap))).NextInt((uint)config.ClassCount), config.NullClass);
            var channels = _model.Compatibility.GuidedChannels(config);
            updates[image] = new SampleUpdate(image, 2 * image, 2 * image + 1, GuidanceScale, channels, step.Update);
        }

        var batch = _teacher.Run(State, timesteps, labels);
        using var table = _model.Backend.Prepare(updates, _imageCount);
        _model.Backend.GuideAndUpdate(_teacher.State.Prediction, table, noise: null, _teacher.State.Latents);
        _model.Backend.Download<float>(_teacher.State.Latents, State);
        return batch;
    }

    /// <inheritdoc/>
    public void Dispose() => _teacher.Dispose();

    /// <summary>Which trajectory of an image a batch is in, and how far.</summary>
    private (long Lap, int Place) Place(int image, long number)
    {
        var steps = _plan.Steps.Length;
        var at = number + (long)image * steps / _imageCount;
        return (at / steps, (int)(at % steps));
    }

    private long Trajectory(int image, long lap) => lap * _imageCount + image;

    private void Begin(int image, long lap)
    {
        var random = new TorchGenerator(Seeds.Of(_seed, Trajectory(image, lap)));
        random.NextUInt32();
        random.Normal(State.AsSpan(image * _model.Config.LatentCount, _model.Config.LatentCount));
    }
}

/// <summary>Seeds of single draws from one seed.</summary>
internal static class Seeds
{
    /// <summary>SplitMix64 (Steele et al. 2014) of seed and number.</summary>
    public static ulong Of(ulong seed, long number)
    {
        var z = unchecked(seed * 0x9E3779B97F4A7C15 + (ulong)number * 0xD1B54A32D192ED03 + 0x9E3779B97F4A7C15);
        z = unchecked((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9);
        z = unchecked((z ^ (z >> 27)) * 0x94D049BB133111EB);
        return z ^ (z >> 31);
    }
}
