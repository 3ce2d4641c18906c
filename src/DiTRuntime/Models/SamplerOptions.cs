using DiTRuntime.Sampling;

namespace DiTRuntime.Models;

/// <summary>Which sampler an image is made with, as people name it; worked out by <see cref="CreatePlan"/>.</summary>
public sealed record SamplerOptions
{
    /// <summary>Steps where nothing says how many.</summary>
    public const int DefaultSteps = 50;

    /// <summary>"ddim" or "ddpm".</summary>
    public string Sampler { get; init; } = "ddim";

    /// <summary>Number of sampling steps; null is what the spacing fixes, or <see cref="DefaultSteps"/>.</summary>
    public int? Steps { get; init; }

    /// <summary>Timestep spacing; null is "linspace" for ddpm, "leading" for ddim.</summary>
    public string? Spacing { get; init; }

    /// <summary>η of DDIM, 0 to 1.</summary>
    public double Eta { get; init; }

    /// <summary>The spacing with its default settled: the published scripts sample DDPM evenly over the whole range and DDIM at whole strides.</summary>
    /// <exception cref="UsageException">No such spacing.</exception>
    public TimestepSpacing ResolveSpacing() => TimestepSpacing.Parse(Spacing ?? (Sampler == "ddpm" ? "linspace" : "leading"));

    /// <summary>The number of steps with its default settled.</summary>
    /// <exception cref="UsageException">No such spacing.</exception>
    public int StepCount => Steps ?? ResolveSpacing().FixedCount ?? DefaultSteps;

    /// <summary>Works the sampler out.</summary>
    /// <param name="config">The model.</param>
    /// <param name="compatibility">Which published implementation to agree with.</param>
    /// <exception cref="UsageException">No such sampler or spacing, or steps or an η that they do not take.</exception>
    public SamplingPlan CreatePlan(DiTConfig config, Compatibility compatibility)
    {
        var schedule = compatibility == Compatibility.Official ? NoiseSchedule.Linear() : NoiseSchedule.LinearSingle();
        var respaced = ResolveSpacing().Respace(schedule, StepCount);
        return SamplingPlan.Create(Sampler, respaced, Eta, config.LearnsVariance);
    }
}
