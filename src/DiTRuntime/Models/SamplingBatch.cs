using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Sampling;

namespace DiTRuntime.Models;

/// <summary>The sampling loop for images that share a plan: latents, conditioning and one model call per step.</summary>
/// <remarks>Everything is allocated here; <see cref="Step"/> allocates nothing. Guided images take two neighbouring rows.</remarks>
public sealed class SamplingBatch : IDisposable
{
    /// <summary>Tokens in flight from which larger batches gain nothing on a processor.</summary>
    public const int TokensOnProcessor = 1024;

    /// <summary>Memory for the modulation table; a longer plan is covered in windows of steps.</summary>
    private const long TableBytes = 256L << 20;

    private readonly ResourceList _owned = new();
    private readonly DiTModel _model;
    private readonly SamplingPlan _plan;
    private readonly NoiseSource _noise;
    private readonly DiTState _state;
    private readonly ModulationTable _table;
    private readonly Tensor _rowOfSample;
    private readonly UpdateTable _updates;
    private readonly RepeatedStep _repeated;
    private readonly Tensor? _noiseTensor;
    private readonly float[] _noiseValues;
    private readonly int[] _conditions;
    private readonly int _stepsPerWindow;
    private int _step;

    /// <param name="model">The model.</param>
    /// <param name="settings">Plan, guidance and noise of the run.</param>
    /// <param name="images">Index of each image in the whole run.</param>
    /// <param name="labels">Class of each image.</param>
    public SamplingBatch(DiTModel model, SamplingSettings settings, ReadOnlySpan<int> images, ReadOnlySpan<int> labels)
    {
        var config = model.Config;
        _model = model;
        _plan = settings.Plan;
        _noise = settings.Noise;
        ImageCount = images.Length;

        var rowsPerImage = settings.IsGuided ? 2 : 1;
        SampleCount = rowsPerImage * ImageCount;
        _conditions = [.. labels.ToArray().Distinct(), .. settings.IsGuided ? [config.NullClass] : Array.Empty<int>()];
        _stepsPerWindow = (int)Math.Clamp(TableBytes / (_conditions.Length * ModulationTable.RowBytes(config)), 1, _plan.Steps.Length);

        var backend = model.Backend;
        _noiseValues = new float[ImageCount * config.LatentCount];
        try
        {
            _state = _owned.Add(model.CreateState(ImageCount, SampleCount));
            var imageOfSample = new int[SampleCount];
            for (var row = 0; row < SampleCount; row++) imageOfSample[row] = row / rowsPerImage;
            backend.Upload<int>(imageOfSample, _state.ImageOfSample);
            _table = _owned.Add(new ModulationTable(backend, config, _stepsPerWindow * _conditions.Length));
            _rowOfSample = _owned.Add(backend.Allocate(ElementType.I32, _plan.Steps.Length, SampleCount));
            backend.Upload<int>(RowsOfSamples(labels, rowsPerImage), _rowOfSample);
            _updates = _owned.Add(backend.Prepare(Updates(settings, config, rowsPerImage), ImageCount));
            if (_plan.NeedsNoise) _noiseTensor = _owned.Add(backend.Allocate(ElementType.F32, 2, ImageCount, config.InChannels, config.InputSize, config.InputSize));
            _noise.BeginBatch(images, _noiseValues);
            backend.Upload<float>(_noiseValues, _state.Latents);
            _repeated = _owned.Add(backend.PrepareStep(() => _model.Step(_state, _table, _rowOfSample, _updates, _noiseTensor)));
            DrawNoise(0);
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    /// <summary>Images in the batch.</summary>
    public int ImageCount { get; }

    /// <summary>B: samples in the batch, two per guided image.</summary>
    public int SampleCount { get; }

    /// <summary>Whether every step has been taken.</summary>
    public bool IsFinished => _step == _plan.Steps.Length;

    /// <summary>Takes the next step of the plan: predicts, guides, updates the latents. A GPU may still be at work on it afterwards.</summary>
    public void Step()
    {
        if (_step % _stepsPerWindow == 0) FillWindow();
        _repeated.Run();
        _step++;
        // While the device works on this step, the host draws what the next one adds.
        if (!IsFinished) DrawNoise(_step);
    }

    /// <summary>The latents as they stand, [images, C, S, S].</summary>
    public void Read(Span<float> latents) => _model.Backend.Download(_state.Latents, latents);

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();

    /// <summary>[steps, B]: rows of the window that the step lies in.</summary>
    private int[] RowsOfSamples(ReadOnlySpan<int> labels, int rowsPerImage)
    {
        var rows = new int[_plan.Steps.Length * SampleCount];
        for (var sample = 0; sample < SampleCount; sample++)
        {
            var condition = sample % rowsPerImage == 1 ? _conditions.Length - 1 : Array.IndexOf(_conditions, labels[sample / rowsPerImage]);
            for (var step = 0; step < _plan.Steps.Length; step++)
                rows[step * SampleCount + sample] = step % _stepsPerWindow * _conditions.Length + condition;
        }

        return rows;
    }

    /// <summary>[steps, images].</summary>
    private SampleUpdate[] Updates(SamplingSettings settings, DiTConfig config, int rowsPerImage)
    {
        var guidedChannels = Math.Min(settings.GuidedChannels, config.InChannels);
        var updates = new SampleUpdate[_plan.Steps.Length * ImageCount];
        for (var i = 0; i < updates.Length; i++)
        {
            var image = i % ImageCount;
            updates[i] = new SampleUpdate(
                image, rowsPerImage * image, rowsPerImage == 2 ? 2 * image + 1 : -1, settings.GuidanceScale, guidedChannels, _plan.Steps[i / ImageCount].Update);
        }

        return updates;
    }

    private void DrawNoise(int step)
    {
        _noise.FillStep(_plan.Steps[step], _noiseValues);
        if (_noiseTensor is not null && _plan.Steps[step].Update.NeedsNoise) _model.Backend.UploadNoise(_noiseValues, _noiseTensor, step);
    }

    /// <summary>One product per layer for all timesteps of the window and all classes of the batch; steps past the plan's end repeat its last one.</summary>
    private void FillWindow()
    {
        Span<int> timesteps = _table.RowCount <= 1024 ? stackalloc int[_table.RowCount] : new int[_table.RowCount];
        Span<int> labels = _table.RowCount <= 1024 ? stackalloc int[_table.RowCount] : new int[_table.RowCount];
        for (var row = 0; row < _table.RowCount; row++)
        {
            timesteps[row] = _plan.Steps[Math.Min(_step + row / _conditions.Length, _plan.Steps.Length - 1)].Timestep;
            labels[row] = _conditions[row % _conditions.Length];
        }

        _model.Conditioner.Fill(timesteps, labels, _table);
    }
}
