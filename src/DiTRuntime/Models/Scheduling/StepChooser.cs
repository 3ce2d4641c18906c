namespace DiTRuntime.Models.Scheduling;

/// <summary>Decides which images take part in a step.</summary>
/// <remarks>
/// The request with the least work left goes first, so that a small one does not wait for the large ones before it. Others ride along as long as a step does
/// not take more than <see cref="Patience"/> times what the first request's images take alone: many on a GPU, whose small steps leave it idle, few on a processor, where
/// every sample costs the same. The oldest request rides in every step, whatever it costs: it always moves, so none starves.
/// </remarks>
/// <param name="costs">What steps take.</param>
internal sealed class StepChooser(StepCosts costs)
{
    private const double Patience = 2;

    private bool _oldestFirst;

    /// <summary>Chooses.</summary>
    /// <param name="active">Requests that have images to advance; put in order of the work they have left.</param>
    /// <param name="maxSamples">Samples of the step.</param>
    /// <param name="begin">Lets an image join that has not begun; false where there is no room for it now.</param>
    /// <param name="chosen">Receives the images.</param>
    public void Choose(List<Generation> active, int maxSamples, Func<Generation, int, bool> begin, List<RollingImage> chosen)
    {
        chosen.Clear();
        if (active.Count == 0) return;
        active.Sort(static (a, b) => a.WorkLeft != b.WorkLeft ? a.WorkLeft.CompareTo(b.WorkLeft) : a.Number.CompareTo(b.Number));
        var oldest = active[0];
        foreach (var generation in active)
            if (generation.Number < oldest.Number) oldest = generation;
        var first = active[0];
        var samples = 0;
        if (first == oldest)
        {
            Add(first, maxSamples, double.PositiveInfinity, begin, chosen, ref samples);
        }
        else if (maxSamples < first.SamplesPerImage + oldest.SamplesPerImage)
        {
            // No room for both: they take turns.
            _oldestFirst = !_oldestFirst;
            Add(_oldestFirst ? oldest : first, maxSamples, double.PositiveInfinity, begin, chosen, ref samples);
        }
        else
        {
            Add(first, Math.Max(maxSamples / 2, first.SamplesPerImage), double.PositiveInfinity, begin, chosen, ref samples);
            Add(oldest, Math.Min(samples + oldest.SamplesPerImage, maxSamples), double.PositiveInfinity, begin, chosen, ref samples);
        }

        var seconds = Patience * costs.Estimate(Math.Max(SamplesOf(first, chosen), 1));
        Add(oldest, maxSamples, seconds, begin, chosen, ref samples);
        foreach (var generation in active)
        {
            if (samples == maxSamples) break;
            Add(generation, maxSamples, seconds, begin, chosen, ref samples);
        }
    }

    private static int SamplesOf(Generation generation, List<RollingImage> chosen)
    {
        var samples = 0;
        foreach (var image in chosen)
            if (generation.Owns(image)) samples += image.SampleCount;
        return samples;
    }

    /// <summary>Adds images of a request, those that have begun first, while samples and time allow.</summary>
    private void Add(Generation generation, int maxSamples, double seconds, Func<Generation, int, bool> begin, List<RollingImage> chosen, ref int samples)
    {
        for (var i = generation.FirstOpen; i < generation.ImageCount; i++)
        {
            var image = generation.ImageAt(i);
            if (image.State is not (RollingState.Waiting or RollingState.Running) || chosen.Contains(image)) continue;
            if (samples + image.SampleCount > maxSamples || costs.Estimate(samples + image.SampleCount) > seconds) return;
            if (image.State == RollingState.Waiting && !begin(generation, i)) return;
            chosen.Add(image);
            samples += image.SampleCount;
        }
    }
}
