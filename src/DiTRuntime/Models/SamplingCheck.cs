using DiTRuntime.Sampling;

namespace DiTRuntime.Models;

/// <summary>What every way of sampling asks of a request before anything is allocated; a failure is a <see cref="UsageException"/>.</summary>
internal static class SamplingCheck
{
    /// <summary>The model has the class.</summary>
    public static void Label(DiTConfig config, int label)
    {
        if (label < 0 || label >= config.ClassCount)
            throw new UsageException($"class {label} does not exist: this model knows 0 to {config.ClassCount - 1}");
    }

    /// <summary>The scale is a number, and the model predicts what the plan reads.</summary>
    public static void Settings(DiTConfig config, SamplingPlan plan, float guidanceScale)
    {
        if (!float.IsFinite(guidanceScale) || guidanceScale < 0)
            throw new UsageException($"guidance scale {guidanceScale}: expected a number that is not negative");
        if (plan.LearnedVariance && !config.LearnsVariance)
            throw new UsageException("the plan reads a learned variance, which this model does not predict");
    }
}
