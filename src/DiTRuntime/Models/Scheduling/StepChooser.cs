namespace DiTRuntime.Models.Scheduling;

/// <summary>Decides which images take part in a step.</summary>
/// <remarks>
/// Requests go in classes of their size, the smallest first, so that one image does not wait for the hundreds before it; within a class, in order of acceptance. Others of the first one's class share its
/// steps where a sample gets cheaper by that: at <see cref="Gain"/> times its cost or less. Larger ones ride along as long as a step does not take more than <see cref="Patience"/> times what it
/// would without them. Both are many on a GPU, whose small steps leave it idle, and few on a processor, where every sample costs the same. The oldest request moves in every
/// <see cref="Turn"/>th step at least, so none starves.
/// </remarks>
/// <param name="costs">What steps take.</param>
internal sealed class StepChooser(StepCosts costs)
{
    private const double Patience = 1.25;
    private const double Gain = 0.9;
    private const int Turn = 8;

    private long _oldestNumber = -1;
    private int _stepsWithoutOldest;

    /// <summary>Chooses.</summary>
    /// <param name="active">Requests that have images to advance; put in the order in which they go.</param>
    /// <param name="maxSamples">Samples of the step.</param>
    /// <param name="begin">Lets an image join that has not begun; false where there is no room for it now.</param>
    /// <param name="chosen">Receives the images.</param>
    public void Choose(List<Generation> active, int maxSamples, Func<Generation, int, bool> begin, List<RollingImage> chosen)
    {
        chosen.Clear();
        if (active.Count == 0) return;
        active.Sort(Generation.CompareOrder);
        var oldest = active[0];
        foreach (var generation in active)
            if (generation.Number < oldest.Number) oldest = generation;
        if (oldest.Number != _oldestNumber) (_oldestNumber, _stepsWithoutOldest) = (oldest.Number, 0);

        var step = new Step(maxSamples, begin, chosen);
        if (++_stepsWithoutOldest >= Turn) Add(oldest, oldest.SamplesPerImage, Limit.None, ref step);
        var first = active[0];
        Add(first, maxSamples, Limit.None, ref step);
        var sharing = new Limit(double.PositiveInfinity, Gain * costs.Estimate(step.Samples) / Math.Max(step.Samples, 1));
        Limit? riding = null;
        foreach (var generation in active)
        {
            if (step.Samples == maxSamples) break;
            if (generation.SizeClass != first.SizeClass) riding ??= new Limit(Patience * costs.Estimate(step.Samples), double.PositiveInfinity);
            Add(generation, maxSamples, riding ?? sharing, ref step);
        }

        if (chosen.Exists(oldest.Owns)) _stepsWithoutOldest = 0;
    }

    /// <summary>Adds images of a request, those that have begun first, while samples and time allow.</summary>
    private void Add(Generation generation, int samples, Limit limit, ref Step step)
    {
        for (var i = generation.FirstOpen; i < generation.ImageCount; i++)
        {
            var image = generation.ImageAt(i);
            if (image.State is not (RollingState.Waiting or RollingState.Running) || step.Chosen.Contains(image)) continue;
            var total = step.Samples + image.SampleCount;
            if (total > Math.Min(samples, step.MaxSamples)) return;
            var seconds = costs.Estimate(total);
            if (seconds > limit.Seconds || seconds / total > limit.SampleSeconds) return;
            if (image.State == RollingState.Waiting && !step.Begin(generation, i)) return;
            step.Chosen.Add(image);
            step.Samples = total;
        }
    }

    /// <summary>What a step may take, as a whole and for each of its samples.</summary>
    private readonly record struct Limit(double Seconds, double SampleSeconds)
    {
        public static Limit None { get; } = new(double.PositiveInfinity, double.PositiveInfinity);
    }

    /// <summary>A step that is being put together.</summary>
    private ref struct Step(int maxSamples, Func<Generation, int, bool> begin, List<RollingImage> chosen)
    {
        public readonly int MaxSamples => maxSamples;

        public readonly Func<Generation, int, bool> Begin => begin;

        public readonly List<RollingImage> Chosen => chosen;

        public int Samples { get; set; }
    }
}
