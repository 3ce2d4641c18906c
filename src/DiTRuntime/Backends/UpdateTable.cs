namespace DiTRuntime.Backends;

/// <summary>The updates of a run of sampling steps, where the kernels run, and a counter of the steps taken; so a step is the same work every time.</summary>
public abstract class UpdateTable : IDisposable
{
    private readonly SampleUpdate[] _updates;

    /// <param name="updates">[steps, images].</param>
    /// <param name="imageCount">Images updated in each step.</param>
    /// <param name="step">I32 [1], 0.</param>
    protected UpdateTable(ReadOnlySpan<SampleUpdate> updates, int imageCount, Tensor step)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(imageCount, 1);
        if (updates.IsEmpty || updates.Length % imageCount != 0)
            throw new ArgumentException($"{updates.Length} updates for {imageCount} images: expected whole steps", nameof(updates));
        _updates = updates.ToArray();
        ImageCount = imageCount;
        Step = step;
    }

    /// <summary>Images updated in each step.</summary>
    public int ImageCount { get; }

    /// <summary>Steps it covers.</summary>
    public int StepCount => _updates.Length / ImageCount;

    /// <summary>[steps, images].</summary>
    public ReadOnlySpan<SampleUpdate> Updates => _updates;

    /// <summary>I32 [1]: the step that comes next; <see cref="IDiTBackend.GuideAndUpdate"/> adds 1.</summary>
    public Tensor Step { get; }

    /// <summary>Other updates in the place of these; for <see cref="IDiTBackend.Replace"/>.</summary>
    /// <exception cref="ArgumentException">They are not as many.</exception>
    internal void Replace(ReadOnlySpan<SampleUpdate> updates)
    {
        if (updates.Length != _updates.Length) throw new ArgumentException($"{updates.Length} updates for a table of {_updates.Length}", nameof(updates));
        updates.CopyTo(_updates);
    }

    /// <summary>The updates of one step, one per image.</summary>
    public ReadOnlySpan<SampleUpdate> OfStep(int step) => _updates.AsSpan(step * ImageCount, ImageCount);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the storage back.</summary>
    protected virtual void Dispose(bool disposing)
    {
        if (disposing) Step.Dispose();
    }
}

/// <summary>What <see cref="IDiTBackend.FinishStep"/> works on.</summary>
/// <param name="Tokens">F32 [B, T, H]: the last block's output.</param>
/// <param name="Modulation">Shift (chunk 0) and scale (chunk 1) of the final layer.</param>
/// <param name="Epsilon">Added to the variance.</param>
/// <param name="Layer">The final linear layer [p·p·Cout, H].</param>
/// <param name="Normed">[B, T, H] in the layer's format, to work in.</param>
/// <param name="Patches">F32 [B, T, p·p·Cout], to work in.</param>
/// <param name="Prediction">F32 [B, Cout, S, S], to work in; its values are undefined afterwards.</param>
/// <param name="Updates">The run's updates.</param>
/// <param name="Noise">As for <see cref="IDiTBackend.GuideAndUpdate"/>.</param>
/// <param name="Latents">F32 [images, C, S, S], updated in place.</param>
public readonly record struct StepEnd(
    Tensor Tokens,
    Modulation Modulation,
    float Epsilon,
    PreparedLinear Layer,
    Tensor Normed,
    Tensor Patches,
    Tensor Prediction,
    UpdateTable Updates,
    Tensor? Noise,
    Tensor Latents);
