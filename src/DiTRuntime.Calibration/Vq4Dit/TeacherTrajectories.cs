using DiTRuntime.Backends;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>
/// Training without data: trajectories of the teacher from noise, one after the other, a batch for a student at each of their timesteps (VQ4DiT, Deng et al. 2024, section 3.3). The latents
/// go on by what the teacher predicts, so a student that has drifted off does not decide what it is trained on.
/// </summary>
/// <remarks>
/// DDPM over 50 timesteps, 4 random classes with and without guidance: the published code's. There all images are at the same timestep; here they are a quarter of a trajectory apart, so that a step
/// of the optimizer is not the opinion of one noise level. What is drawn depends on the seed and the iteration alone.
/// </remarks>
internal sealed class TeacherTrajectories : IDisposable
{
    /// <summary>Timesteps of a trajectory.</summary>
    public const int StepCount = 50;

    /// <summary>Rows of a batch: every image with its class and without.</summary>
    public const int SampleCount = 2 * ImageCount;

    private const int ImageCount = 4;

    /// <summary>Timesteps that pass before the first iteration, until the last image sets out.</summary>
    private const int Lead = (ImageCount - 1) * StepCount / ImageCount;

    private readonly DiTModel _model;
    private readonly ulong _seed;
    private readonly SamplingPlan _plan;
    private readonly Teacher _teacher;
    private readonly Tensor _noise;
    private readonly float[] _latents, _noiseValues;

    /// <param name="model">The teacher; not taken over.</param>
    /// <param name="seed">Seed of classes and noise.</param>
    public TeacherTrajectories(DiTModel model, ulong seed)
    {
        (_model, _seed) = (model, seed);
        var config = model.Config;
        _plan = SamplingPlan.Ddpm(TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), StepCount), config.LearnsVariance);
        _latents = new float[ImageCount * config.LatentCount];
        _noiseValues = new float[_latents.Length];
        _teacher = new Teacher(model, ImageCount, rowsPerImage: 2);
        _noise = model.Backend.Allocate(ElementType.F32, 2, ImageCount, config.InChannels, config.InputSize, config.InputSize);
    }

    /// <summary>Runs the teacher where the trajectories stand.</summary>
    /// <param name="iteration">Counted from 0; the next after that of the last call, or one from which a state was taken up.</param>
    public StudentBatch Run(int iteration)
    {
        if (iteration == 0)
        {
            for (var image = 0; image < ImageCount; image++) Draw(image, 0, StepCount, Latents(image));
            for (var lead = 0; lead < Lead; lead++)
            {
                Predict(lead, keepsBlocks: false);
                Advance(lead);
            }
        }

        return Predict(Lead + iteration, keepsBlocks: true);
    }

    /// <summary>Goes on to the next timesteps, by what the teacher predicted last.</summary>
    /// <param name="iteration">That of the last run.</param>
    public void GoOn(int iteration) => Advance(Lead + iteration);

    /// <summary>Takes the latents to a state or back.</summary>
    public void Exchange(TrainingState state) => state.Exchange("latents", _latents);

    /// <inheritdoc/>
    public void Dispose()
    {
        _teacher.Dispose();
        _noise.Dispose();
    }

    private StudentBatch Predict(int time, bool keepsBlocks)
    {
        var (timesteps, labels) = (new int[SampleCount], new int[SampleCount]);
        for (var row = 0; row < SampleCount; row++)
        {
            var (trajectory, step) = Place(row / 2, time);
            timesteps[row] = _plan.Steps[step].Timestep;
            labels[row] = row % 2 == 0 ? (int)new TorchGenerator(Seed(row / 2, trajectory, StepCount)).NextInt((uint)_model.Config.ClassCount) : _model.Config.NullClass;
        }

        return _teacher.Run(_latents, timesteps, labels, keepsBlocks);
    }

    private void Advance(int time)
    {
        var guided = _model.Compatibility.GuidedChannels(_model.Config);
        var updates = new SampleUpdate[ImageCount];
        for (var image = 0; image < ImageCount; image++)
        {
            var (trajectory, step) = Place(image, time);
            updates[image] = new SampleUpdate(
                image, 2 * image, 2 * image + 1, CalibrationSet.GuidanceScale, guided, Waits(image, time) ? new UpdateCoefficients(Latent: 1, Prediction: 0) : _plan.Steps[step].Update);
            Draw(image, trajectory, step, _noiseValues.AsSpan(image * _model.Config.LatentCount, _model.Config.LatentCount));
        }

        using var table = _model.Backend.Prepare(updates, ImageCount);
        _model.Backend.UploadNoise(_noiseValues, _noise, 0);
        _model.Backend.GuideAndUpdate(_teacher.State.Prediction, table, _noise, _teacher.State.Latents);
        _model.Backend.Download<float>(_teacher.State.Latents, _latents);
        for (var image = 0; image < ImageCount; image++)
            if (Place(image, time + 1) is (var trajectory, 0) && !Waits(image, time)) Draw(image, trajectory, StepCount, Latents(image));
    }

    /// <summary>The trajectory of an image and its step: image i sets out i quarters of a trajectory after the first.</summary>
    private static (int Trajectory, int Step) Place(int image, int time) => Math.DivRem(Math.Max(0, time - image * StepCount / ImageCount), StepCount);

    private static bool Waits(int image, int time) => time < image * StepCount / ImageCount;

    private Span<float> Latents(int image) => _latents.AsSpan(image * _model.Config.LatentCount, _model.Config.LatentCount);

    private void Draw(int image, int trajectory, int step, Span<float> values)
    {
        var random = new TorchGenerator(Seed(image, trajectory, step));
        // The class of a trajectory comes before its first noise.
        if (step == StepCount) random.NextInt(1);
        random.Normal(values);
    }

    /// <summary>A seed for each step of each trajectory of each image, and one for its beginning.</summary>
    private ulong Seed(int image, int trajectory, int step) => unchecked(_seed * 1_000_003 + (ulong)((trajectory * ImageCount + image) * (StepCount + 1) + step));
}
