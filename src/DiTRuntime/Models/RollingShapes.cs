using System.Numerics;
using DiTRuntime.Backends;

namespace DiTRuntime.Models;

/// <summary>A batch shape of a rolling batch: views of its memory, and the step on them.</summary>
/// <param name="SampleCount">B: samples.</param>
/// <param name="State">What a pass works in.</param>
/// <param name="Updates">A table of one step.</param>
/// <param name="Step">Takes a step.</param>
internal sealed record RollingShape(int SampleCount, DiTState State, UpdateTable Updates, RepeatedStep Step) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose()
    {
        Step.Dispose();
        Updates.Dispose();
    }
}

/// <summary>
/// The batch shapes of a rolling batch, made when first asked for, all in the memory of the largest. Where steps are recorded there are
/// a few, and what is missing to the next larger one is padded; elsewhere every shape is exact, because padding costs as much as work.
/// </summary>
/// <param name="model">The model.</param>
/// <param name="state">The largest batch.</param>
/// <param name="table">Modulation rows.</param>
/// <param name="noise">F32 [2, images, C, S, S].</param>
internal sealed class RollingShapes(DiTModel model, DiTState state, ModulationTable table, Tensor noise) : IDisposable
{
    private readonly Dictionary<(int Samples, int Images), RollingShape> _shapes = [];

    private int MostSamples => state.ImageOfSample.Count;

    /// <summary>The shape for so many samples and images; it may be larger.</summary>
    public RollingShape For(int samples, int images)
    {
        if (model.Backend.RecordsSteps)
        {
            samples = Round(samples);
            // Two shapes of a size: every image guided, or some without guidance.
            images = 2 * images <= samples ? Math.Max(samples / 2, 1) : samples;
        }

        return _shapes.TryGetValue((samples, images), out var known) ? known : Make(samples, images);
    }

    /// <summary>The numbers of samples that recorded steps have, ascending: powers of two and halfway between, and the largest.</summary>
    public IEnumerable<int> Sizes()
    {
        for (var size = 1; size < MostSamples; size = Round(size + 1)) yield return size;
        yield return MostSamples;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var shape in _shapes.Values) shape.Dispose();
        _shapes.Clear();
    }

    private int Round(int samples)
    {
        var size = 1;
        while (size < samples) size = int.IsPow2(size) && size > 1 ? size / 2 * 3 : (int)BitOperations.RoundUpToPowerOf2((uint)size + 1);
        return Math.Min(size, MostSamples);
    }

    private RollingShape Make(int samples, int images)
    {
        var view = state.Prefix(samples);
        var updates = model.Backend.Prepare(new SampleUpdate[images], images);
        try
        {
            var shape = new RollingShape(samples, view, updates, model.Backend.PrepareStep(() => model.Step(view, table, updates, noise)));
            _shapes.Add((samples, images), shape);
            return shape;
        }
        catch
        {
            updates.Dispose();
            throw;
        }
    }
}
