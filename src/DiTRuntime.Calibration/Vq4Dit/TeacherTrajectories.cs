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
/// <remarks>DDPM over 50 timesteps, 4 random classes with and without guidance: the published code's. What is drawn depends on the seed and the iteration alone.</remarks>
internal sealed class TeacherTrajectories : IDisposable
{
    /// <summary>Timesteps of a trajectory.</summary>
    public const int StepCount = 50;

    /// <summary>Rows of a batch: every image with its class and without.</summary>
    public const int SampleCount = 2 * ImageCount;

    private const int ImageCount = 4;

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

    /// <summary>Runs the teacher where the trajectory stands.</summary>
    /// <param name="iteration">Timesteps that have passed over all trajectories.</param>
    public StudentBatch Run(int iteration)
    {
        var (trajectory, step) = Math.DivRem(iteration, StepCount);
        var random = new TorchGenerator(Seed(trajectory, StepCount));
        var labels = new int[SampleCount];
        for (var row = 0; row < SampleCount; row++) labels[row] = row % 2 == 0 ? (int)random.NextInt((uint)_model.Config.ClassCount) : _model.Config.NullClass;
        if (step == 0) random.Normal(_latents);
        var timesteps = new int[SampleCount];
        Array.Fill(timesteps, _plan.Steps[step].Timestep);
        return _teacher.Run(_latents, timesteps, labels);
    }

    /// <summary>Goes on to the next timestep, by what the teacher predicted last.</summary>
    /// <param name="iteration">That of the last run.</param>
    public void Advance(int iteration)
    {
        var (trajectory, step) = Math.DivRem(iteration, StepCount);
        var guided = _model.Compatibility == Compatibility.Official ? Math.Min(3, _model.Config.InChannels) : _model.Config.InChannels;
        var updates = new SampleUpdate[ImageCount];
        for (var image = 0; image < ImageCount; image++)
            updates[image] = new SampleUpdate(image, 2 * image, 2 * image + 1, CalibrationSet.GuidanceScale, guided, _plan.Steps[step].Update);
        using var table = _model.Backend.Prepare(updates, ImageCount);
        new TorchGenerator(Seed(trajectory, step)).Normal(_noiseValues);
        _model.Backend.UploadNoise(_noiseValues, _noise, 0);
        _model.Backend.GuideAndUpdate(_teacher.State.Prediction, table, _noise, _teacher.State.Latents);
        _model.Backend.Download<float>(_teacher.State.Latents, _latents);
    }

    /// <summary>Takes the latents to a state or back.</summary>
    public void Exchange(TrainingState state) => state.Exchange("latents", _latents);

    /// <inheritdoc/>
    public void Dispose()
    {
        _teacher.Dispose();
        _noise.Dispose();
    }

    /// <summary>A seed for each step of each trajectory, and one for its beginning.</summary>
    private ulong Seed(int trajectory, int step) => unchecked(_seed * 1_000_003 + (ulong)trajectory * (StepCount + 1) + (ulong)step);
}
