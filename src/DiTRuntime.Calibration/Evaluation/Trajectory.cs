using DiTRuntime.Backends;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>One model on its way from noise to latents, with a look at what it predicts on the way, also for latents that are not its own.</summary>
internal sealed class Trajectory : IDisposable
{
    private readonly DiTModel _model;
    private readonly SamplingPlan _plan;
    private readonly DiTState _state;
    private readonly ModulationTable _table;
    private readonly UpdateTable _updates;
    private readonly int[] _timesteps;
    private readonly int[] _labels;

    public Trajectory(DiTModel model, SamplingPlan plan, ComparisonSettings settings, int[] images, int[] labels)
    {
        var config = model.Config;
        (_model, _plan) = (model, plan);
        var rowsPerImage = settings.GuidanceScale == 1 ? 1 : 2;
        var rows = rowsPerImage * images.Length;
        _state = model.CreateState(images.Length, rows);
        _table = new ModulationTable(model.Backend, config, rows);
        var guided = model.Compatibility.GuidedChannels(config);
        var updates = new SampleUpdate[plan.Steps.Length * images.Length];
        for (var u = 0; u < updates.Length; u++)
        {
            var image = u % images.Length;
            updates[u] = new SampleUpdate(
                image, rowsPerImage * image, rowsPerImage == 2 ? 2 * image + 1 : -1, settings.GuidanceScale, guided, plan.Steps[u / images.Length].Update);
        }

        _updates = model.Backend.Prepare(updates, images.Length);
        _timesteps = new int[rows];
        _labels = [.. Enumerable.Range(0, rows).Select(row => row % rowsPerImage == 1 ? config.NullClass : labels[row / rowsPerImage])];
        model.Backend.Upload<int>([.. Enumerable.Range(0, rows).Select(row => row / rowsPerImage)], _state.ImageOfSample);
        model.Backend.Upload<int>([.. Enumerable.Range(0, rows)], _state.ModulationRowOfSample);
        Latents = new float[images.Length * config.LatentCount];
        Prediction = new float[_state.Prediction.Count];
        new ImageNoise(settings.Seed).BeginBatch(images, Latents);
    }

    /// <summary>Where the trajectory stands, [images, C, S, S].</summary>
    public float[] Latents { get; }

    /// <summary>What was predicted last, [B, Cout, S, S].</summary>
    public float[] Prediction { get; }

    /// <summary>Predicts for a step of the plan.</summary>
    /// <param name="step">Its number.</param>
    /// <param name="latents">The latents to predict for.</param>
    /// <param name="observer">Sees what comes out of each block [B, T, H].</param>
    public void Predict(int step, ReadOnlySpan<float> latents, Action<int, float[]>? observer = null)
    {
        var backend = _model.Backend;
        Array.Fill(_timesteps, _plan.Steps[step].Timestep);
        _model.Conditioner.Fill(_timesteps, _labels, _table);
        backend.Upload(latents, _state.Latents);
        Action<int, Tensor>? reader = observer is null ? null : (block, tokens) =>
        {
            var values = new float[tokens.Count];
            backend.Download(tokens, values.AsSpan());
            observer(block, values);
        };
        _model.Forward(_state, _table, reader);
        backend.Download(_state.Prediction, Prediction.AsSpan());
    }

    /// <summary>Takes the next step of the plan by what was predicted last, which must have been for these latents.</summary>
    public void Advance()
    {
        _model.Backend.GuideAndUpdate(_state.Prediction, _updates, noise: null, _state.Latents);
        _model.Backend.Download(_state.Latents, Latents.AsSpan());
    }

    public void Dispose()
    {
        _updates.Dispose();
        _state.Dispose();
        _table.Dispose();
    }
}
