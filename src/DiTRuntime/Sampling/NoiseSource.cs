namespace DiTRuntime.Sampling;

/// <summary>Where the latents and the noise of the steps come from, batch after batch.</summary>
/// <remarks>
/// A batch begins with <see cref="BeginBatch"/>, then <see cref="FillStep"/> is called once for each step of the plan in order.
/// A step allocates nothing; beginning a batch allocates only when it is larger than all before.
/// </remarks>
public abstract class NoiseSource
{
    /// <summary>Starts a batch: fills the initial latents.</summary>
    /// <param name="images">Index of each image of the batch in the whole run; also what its seed counts from.</param>
    /// <param name="latents">[images, C, S, S].</param>
    public abstract void BeginBatch(ReadOnlySpan<int> images, Span<float> latents);

    /// <summary>Fills the noise of the batch's next step.</summary>
    /// <param name="current">The step of the plan.</param>
    /// <param name="noise">[images, C, S, S]; meaningful after the call only when the step needs noise.</param>
    public abstract void FillStep(in SamplingStep current, Span<float> noise);

    /// <summary>Number of values of one image.</summary>
    /// <exception cref="ArgumentException">The latents do not divide into the images.</exception>
    private protected static int ImageLength(int imageCount, int length)
    {
        if (imageCount == 0 || length % imageCount != 0)
            throw new ArgumentException($"{length} values do not divide into {imageCount} images");
        return length / imageCount;
    }
}
