using DiTRuntime.Exporter.Files;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Exporter;

/// <summary>The sampling of an export, settled: what the golden images are made with, and what the exported program does where it is told nothing.</summary>
internal sealed record ExportRun
{
    private ExportRun(SamplingPlan plan, string spacing, float guidanceScale)
    {
        Plan = plan;
        Spacing = spacing;
        GuidanceScale = guidanceScale;
    }

    /// <summary>The sampler, worked out.</summary>
    public SamplingPlan Plan { get; }

    /// <summary>The timestep spacing's name.</summary>
    public string Spacing { get; }

    /// <summary>s; 1 where nothing is guided.</summary>
    public float GuidanceScale { get; }

    /// <summary>The sampler's number in the file.</summary>
    public uint SamplerNumber => Plan.Name == "ddpm" ? 1u : 0;

    /// <summary>The spacing's number in the file.</summary>
    public uint SpacingNumber => Spacing switch { "leading" => 0, "linspace" => 1, _ => 2 };

    /// <summary>Settles the sampling, as <c>dit generate</c> does.</summary>
    /// <exception cref="UsageException">Flags that contradict each other or the model.</exception>
    public static ExportRun Of(ExportSettings settings, DiTConfig config)
    {
        if (settings.Batch < 1) throw new UsageException($"--batch {settings.Batch}: expected 1 or more");
        if (settings.Threads < 1) throw new UsageException($"--threads {settings.Threads}: expected 1 or more");
        if (!(settings.GuidanceScale >= 0) || !float.IsFinite((float)settings.GuidanceScale)) throw new UsageException($"--cfg-scale {settings.GuidanceScale}: expected a number that is not negative");
        var spacing = (settings.Spacing ?? (settings.Sampler == "ddpm" ? "linspace" : "leading")) switch
        {
            "leading" => TimestepSpacing.Leading,
            "linspace" => TimestepSpacing.Linspace,
            "trailing" => TimestepSpacing.Trailing,
            var other => throw new UsageException($"--spacing {other}: expected leading, linspace or trailing; an exported model has no sections"),
        };
        var diffusers = settings.Compatibility == Compatibility.Diffusers;
        var schedule = diffusers ? NoiseSchedule.LinearSingle() : NoiseSchedule.Linear();
        var plan = SamplingPlan.Create(settings.Sampler, spacing.Respace(schedule, settings.Steps), eta: 0, config.LearnsVariance);
        // diffusers guides at scales above 1 only.
        var scale = diffusers && settings.GuidanceScale <= 1 ? 1 : (float)settings.GuidanceScale;
        return new ExportRun(plan, spacing.Name, scale);
    }

    /// <summary>The part of a weights file's header that the run decides.</summary>
    /// <param name="batch">Images sampled together.</param>
    /// <param name="tableRows">Rows of the modulation table held at once.</param>
    public FilePlan FilePlan(int batch, int tableRows) => new(batch, Plan.Steps.Length, tableRows, SamplerNumber, SpacingNumber, GuidanceScale);
}
