using System.Diagnostics;
using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Sampling;

namespace DiTRuntime.Models;

/// <summary>One pass of the model over some images of a rolling batch: lays their samples out, and runs the shape they fit into.</summary>
/// <remarks>
/// A latent stays in its slot; samples are laid out anew for each pass. Samples that only fill a shape read the latent past the last slot, and updates
/// that only fill it leave that latent as it is.
/// </remarks>
internal sealed class RollingPass : IDisposable
{
    private readonly ResourceList _owned = new();
    private readonly IDiTBackend _backend;
    private readonly DiTConfig _config;
    private readonly RollingShapes _shapes;
    private readonly Tensor _noise;
    private readonly float[] _noiseValues;
    private readonly int[] _imageOfSample;
    private readonly int[] _rowOfSample;
    private readonly SampleUpdate[] _updates;
    private readonly SampleUpdate _idle;
    private readonly int _spareSlot;
    private int _samples;
    private int _images;

    /// <param name="model">The model.</param>
    /// <param name="slotCount">Images.</param>
    /// <param name="sampleCount">Samples of the largest pass.</param>
    /// <param name="table">Modulation rows.</param>
    public RollingPass(DiTModel model, int slotCount, int sampleCount, ModulationTable table)
    {
        _backend = model.Backend;
        _config = model.Config;
        _spareSlot = slotCount;
        _idle = new SampleUpdate(_spareSlot, ConditionalRow: 0, UnconditionalRow: -1, 1, 0, new UpdateCoefficients(Latent: 1, Prediction: 0));
        _noiseValues = new float[(slotCount + 1) * _config.LatentCount];
        _imageOfSample = new int[sampleCount];
        _rowOfSample = new int[sampleCount];
        _updates = new SampleUpdate[sampleCount];
        try
        {
            var state = _owned.Add(model.CreateState(slotCount + 1, sampleCount));
            _noise = _owned.Add(_backend.Allocate(ElementType.F32, [2, .. state.Latents.Shape]));
            _shapes = _owned.Add(new RollingShapes(model, state, table, _noise));
            Latents = state.Latents;
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    /// <summary>[slots + 1, C, S, S].</summary>
    public Tensor Latents { get; }

    /// <summary>Samples of the latest pass.</summary>
    public int SampleCount => _samples;

    /// <summary>The numbers of samples of recorded shapes, ascending; none where the backend does not record.</summary>
    public IEnumerable<int> RecordedSizes => _backend.RecordsSteps ? _shapes.Sizes() : [];

    /// <summary>What the next pass adds to an image, [C, S, S], where its step adds noise.</summary>
    public Span<float> NoiseOfSlot(int slot) => _noiseValues.AsSpan(slot * _config.LatentCount, _config.LatentCount);

    /// <summary>Takes the next step of some neighbouring images. Their latents move in the last operation.</summary>
    /// <param name="running">Images.</param>
    /// <param name="first">The first of them.</param>
    /// <param name="count">How many.</param>
    public void Run(List<RollingImage> running, int first, int count)
    {
        (_samples, _images) = (0, 0);
        var needsNoise = false;
        for (var i = first; i < first + count; i++)
        {
            Lay(running[i]);
            needsNoise |= running[i].NextStep.Update.NeedsNoise;
        }

        Run(_shapes.For(_samples, _images), needsNoise);
    }

    /// <summary>Runs the shapes of a size on no image, as often as it takes to record them.</summary>
    public void RunIdle(int sampleCount)
    {
        foreach (var images in (int[])[sampleCount, Math.Max(sampleCount / 2, 1)])
            for (var i = 0; i < 2; i++) RunIdle(sampleCount, images);
    }

    /// <summary>What a pass of guided images takes.</summary>
    public TimeSpan Time(int sampleCount)
    {
        var images = Math.Max(sampleCount / 2, 1);
        RunIdle(sampleCount, images);
        Wait();
        var start = Stopwatch.GetTimestamp();
        RunIdle(sampleCount, images);
        Wait();
        return Stopwatch.GetElapsedTime(start);
    }

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();

    private void RunIdle(int sampleCount, int images)
    {
        (_samples, _images) = (0, 0);
        Run(_shapes.For(sampleCount, images), needsNoise: false);
    }

    /// <summary>A download ends when the pass has.</summary>
    private void Wait() => _backend.Download<float>(Latents, _noiseValues);

    private void Lay(RollingImage image)
    {
        var conditional = _samples;
        LaySample(image.Slot, image.Conditional!.FirstRow + image.StepsTaken);
        if (image.Unconditional is { } run) LaySample(image.Slot, run.FirstRow + image.StepsTaken);
        _updates[_images++] = new SampleUpdate(
            image.Slot,
            conditional,
            image.Unconditional is null ? -1 : conditional + 1,
            image.GuidanceScale,
            Math.Min(image.GuidedChannels, _config.InChannels),
            image.NextStep.Update);
    }

    private void LaySample(int slot, int row) => (_imageOfSample[_samples], _rowOfSample[_samples++]) = (slot, row);

    private void Run(RollingShape shape, bool needsNoise)
    {
        while (_samples < shape.SampleCount) LaySample(_spareSlot, row: 0);
        _updates.AsSpan(_images, shape.Updates.ImageCount - _images).Fill(_idle);
        _backend.Upload<int>(_imageOfSample.AsSpan(0, shape.SampleCount), shape.State.ImageOfSample);
        _backend.Upload<int>(_rowOfSample.AsSpan(0, shape.SampleCount), shape.State.ModulationRowOfSample);
        // Waits for the pass before this one, which may still read its noise.
        _backend.Replace(shape.Updates, _updates.AsSpan(0, shape.Updates.ImageCount));
        if (needsNoise) _backend.UploadNoise(_noiseValues, _noise, 0);
        shape.Step.Run();
    }
}
