using DiTRuntime.Sampling;

namespace DiTRuntime.Models;

/// <summary>Where an image of a <see cref="RollingBatch"/> stands.</summary>
public enum RollingState
{
    /// <summary>In no batch yet.</summary>
    Waiting,

    /// <summary>Advances with every step of its batch.</summary>
    Running,

    /// <summary>Every step has been taken: <see cref="RollingImage.Latent"/> is there.</summary>
    Finished,

    /// <summary>A step failed because of it, or could not be taken at all: <see cref="RollingImage.Failure"/> says why.</summary>
    Failed,

    /// <summary>Taken out before its end.</summary>
    Removed,
}

/// <summary>One image of a <see cref="RollingBatch"/>: what is asked for, and how far it is. It runs once.</summary>
/// <param name="label">The class.</param>
/// <param name="seed">Seed of its own generator: the image is that of <see cref="ImageNoise"/> with this seed and index 0.</param>
/// <param name="plan">The sampler, worked out.</param>
/// <param name="guidanceScale">s of classifier-free guidance; 1 turns it off, and nothing unconditional is computed.</param>
/// <param name="guidedChannels">Leading latent channels that are guided: 3 in the published code, all in diffusers.</param>
/// <param name="initialLatent">[C, S, S] to start from; empty where the seed draws it. The noise of the steps is the same in both cases.</param>
public sealed class RollingImage(
    int label, ulong seed, SamplingPlan plan, float guidanceScale, int guidedChannels, ReadOnlyMemory<float> initialLatent = default)
{
    /// <summary>The class.</summary>
    public int Label => label;

    /// <summary>Seed of its own generator.</summary>
    public ulong Seed => seed;

    /// <summary>The sampler, worked out.</summary>
    public SamplingPlan Plan => plan;

    /// <summary>s of classifier-free guidance.</summary>
    public float GuidanceScale => guidanceScale;

    /// <summary>Leading latent channels that are guided.</summary>
    public int GuidedChannels => guidedChannels;

    /// <summary>Samples it takes of a batch: two when guided.</summary>
    public int SampleCount => IsGuided ? 2 : 1;

    /// <summary>Where it stands.</summary>
    public RollingState State { get; internal set; }

    /// <summary>Steps of its plan that have been taken; a GPU may still be at work on the last.</summary>
    public int StepsTaken { get; internal set; }

    /// <summary>[C, S, S], as the sampler left it; null until it is finished.</summary>
    public float[]? Latent { get; internal set; }

    /// <summary>Why it failed, or null.</summary>
    public Exception? Failure { get; internal set; }

    /// <summary>What it starts from; empty where the seed draws it.</summary>
    internal ReadOnlyMemory<float> InitialLatent => initialLatent;

    /// <summary>Whether the unconditional half is computed.</summary>
    internal bool IsGuided => guidanceScale != 1;

    /// <summary>Index of its latent in the batch, while it runs.</summary>
    internal int Slot { get; set; }

    /// <summary>Rows of the modulation table with its class, while it runs.</summary>
    internal ModulationRun? Conditional { get; set; }

    /// <summary>Rows of the modulation table with the null class, while it runs guided.</summary>
    internal ModulationRun? Unconditional { get; set; }

    /// <summary>The step it takes next.</summary>
    internal SamplingStep NextStep => plan.Steps[StepsTaken];

    /// <summary>Whether no step is left.</summary>
    internal bool IsComplete => StepsTaken == plan.Steps.Length;
}
