using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Sampling;

namespace DiTRuntime.Models;

/// <summary>The sampling loop for images that share a plan: latents, conditioning and one model call per step.</summary>
/// <remarks>Everything is allocated here; <see cref="Step"/> allocates nothing. Guided images take two neighbouring rows.</remarks>
public sealed class SamplingBatch : IDisposable
{
    /// <summary>Memory for the modulation table; a longer plan is covered in windows of steps.</summary>
    private const long TableBytes = 256L << 20;

    private readonly DiTModel _model;
    private readonly SamplingPlan _plan;
    private readonly NoiseSource _noise;
    private readonly DiTState _state;
    private readonly ModulationTable _window;
    private readonly ModulationTable? _lastWindow;
    private readonly Tensor? _noiseTensor;
    private readonly float[] _noiseValues;
    private readonly SampleUpdate[] _updates;
    private readonly int[] _conditions;
    private readonly int[] _conditionOfSample;
    private readonly int[] _rowOfSample;
    private readonly int _stepsPerWindow;
    private readonly float _guidanceScale;
    private readonly int _guidedChannels;
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
        _guidanceScale = settings.GuidanceScale;
        _guidedChannels = Math.Min(settings.GuidedChannels, config.InChannels);
        ImageCount = images.Length;

        var rowsPerImage = settings.IsGuided ? 2 : 1;
        _conditions = [.. labels.ToArray().Distinct(), .. settings.IsGuided ? [config.NullClass] : Array.Empty<int>()];
        _conditionOfSample = new int[rowsPerImage * ImageCount];
        var imageOfSample = new int[_conditionOfSample.Length];
        for (var row = 0; row < _conditionOfSample.Length; row++)
        {
            imageOfSample[row] = row / rowsPerImage;
            _conditionOfSample[row] = row % rowsPerImage == 1 ? _conditions.Length - 1 : Array.IndexOf(_conditions, labels[row / rowsPerImage]);
        }

        _rowOfSample = new int[_conditionOfSample.Length];
        _updates = new SampleUpdate[ImageCount];
        _noiseValues = new float[ImageCount * config.LatentCount];
        _stepsPerWindow = (int)Math.Clamp(TableBytes / (_conditions.Length * ModulationTable.RowBytes(config)), 1, _plan.Steps.Length);

        var backend = model.Backend;
        _state = model.CreateState(ImageCount, _conditionOfSample.Length);
        backend.Upload<int>(imageOfSample, _state.ImageOfSample);
        _noiseTensor = _plan.NeedsNoise ? backend.Allocate(ElementType.F32, ImageCount, config.InChannels, config.InputSize, config.InputSize) : null;
        _window = new ModulationTable(backend, config, _stepsPerWindow * _conditions.Length);
        var remainder = _plan.Steps.Length % _stepsPerWindow;
        if (remainder != 0) _lastWindow = new ModulationTable(backend, config, remainder * _conditions.Length);

        _noise.BeginBatch(images, _noiseValues);
        backend.Upload<float>(_noiseValues, _state.Latents);
    }

    /// <summary>Images in the batch.</summary>
    public int ImageCount { get; }

    /// <summary>B: samples in the batch, two per guided image.</summary>
    public int SampleCount => _rowOfSample.Length;

    /// <summary>Whether every step has been taken.</summary>
    public bool IsFinished => _step == _plan.Steps.Length;

    /// <summary>Takes the next step of the plan: predicts, guides, updates the latents.</summary>
    public void Step()
    {
        var steps = _plan.Steps;
        var current = steps[_step];
        var inWindow = _step % _stepsPerWindow;
        if (inWindow == 0) FillWindow();
        for (var row = 0; row < _rowOfSample.Length; row++) _rowOfSample[row] = inWindow * _conditions.Length + _conditionOfSample[row];
        _model.Backend.Upload<int>(_rowOfSample, _state.ModulationRowOfSample);
        _model.Forward(_state, TableOf(_step));

        _noise.FillStep(current, _noiseValues);
        if (_noiseTensor is not null && current.Update.NeedsNoise) _model.Backend.Upload<float>(_noiseValues, _noiseTensor);
        var rowsPerImage = _rowOfSample.Length / ImageCount;
        for (var i = 0; i < ImageCount; i++)
            _updates[i] = new SampleUpdate(i, rowsPerImage * i, rowsPerImage == 2 ? 2 * i + 1 : -1, _guidanceScale, _guidedChannels, current.Update);
        _model.Backend.GuideAndUpdate(_state.Prediction, _updates, _noiseTensor, _state.Latents);
        _step++;
    }

    /// <summary>The latents as they stand, [images, C, S, S].</summary>
    public void Read(Span<float> latents) => _model.Backend.Download(_state.Latents, latents);

    /// <inheritdoc/>
    public void Dispose()
    {
        _state.Dispose();
        _window.Dispose();
        _lastWindow?.Dispose();
        _noiseTensor?.Dispose();
    }

    private ModulationTable TableOf(int step) =>
        step / _stepsPerWindow == _plan.Steps.Length / _stepsPerWindow && _lastWindow is not null ? _lastWindow : _window;

    /// <summary>One product per layer for all timesteps of the window and all classes of the batch.</summary>
    private void FillWindow()
    {
        var table = TableOf(_step);
        Span<int> timesteps = table.RowCount <= 1024 ? stackalloc int[table.RowCount] : new int[table.RowCount];
        Span<int> labels = table.RowCount <= 1024 ? stackalloc int[table.RowCount] : new int[table.RowCount];
        for (var row = 0; row < table.RowCount; row++)
        {
            timesteps[row] = _plan.Steps[_step + row / _conditions.Length].Timestep;
            labels[row] = _conditions[row % _conditions.Length];
        }

        _model.Conditioner.Fill(timesteps, labels, table);
    }
}
