namespace DiTRuntime.Sampling;

/// <summary>A sampler worked out in advance: its steps in the order they are taken, each a linear update.</summary>
/// <remarks>
/// x0 = √(1/ᾱ)·x − √(1/ᾱ − 1)·ε is eliminated from the samplers' formulas; it is never clipped, as in the published
/// sampling scripts. Coefficients are formed in double precision and rounded once.
/// </remarks>
public sealed class SamplingPlan
{
    private readonly SamplingStep[] _steps;

    private SamplingPlan(string name, SamplingStep[] steps)
    {
        Name = name;
        _steps = steps;
    }

    /// <summary>The sampler's name on the command line: "ddim" or "ddpm".</summary>
    public string Name { get; }

    /// <summary>The steps, from the noisiest timestep down.</summary>
    public ReadOnlySpan<SamplingStep> Steps => _steps;

    /// <summary>Whether any step adds noise.</summary>
    public bool NeedsNoise => Array.Exists(_steps, s => s.Update.NeedsNoise);

    /// <summary>Whether any step adds noise whose variance the model predicts.</summary>
    public bool LearnedVariance => Array.Exists(_steps, s => s.Update.LearnedVariance);

    /// <summary>Makes the plan of a sampler by its name on the command line.</summary>
    /// <param name="sampler">`ddim` or `ddpm`.</param>
    /// <param name="schedule">The respaced schedule.</param>
    /// <param name="eta">η of DDIM; must be 0 for DDPM.</param>
    /// <param name="learnsVariance">Whether the model predicts the variance fraction.</param>
    /// <exception cref="UsageException">Another name, or an η that the sampler does not take.</exception>
    public static SamplingPlan Create(string sampler, NoiseSchedule schedule, double eta, bool learnsVariance) => sampler switch
    {
        "ddim" => Ddim(schedule, eta),
        "ddpm" when eta == 0 => Ddpm(schedule, learnsVariance),
        "ddpm" => throw new UsageException($"--eta {eta}: the ddpm sampler has no eta; use --sampler ddim"),
        _ => throw new UsageException($"--sampler {sampler}: expected ddim or ddpm"),
    };

    /// <summary>DDIM (Song et al. 2021, equations 12 and 16).</summary>
    /// <param name="schedule">The respaced schedule.</param>
    /// <param name="eta">η: 0 deterministic, 1 as noisy as the posterior.</param>
    /// <exception cref="UsageException">η is not a number from 0 to 1.</exception>
    public static SamplingPlan Ddim(NoiseSchedule schedule, double eta)
    {
        if (!(eta is >= 0 and <= 1)) throw new UsageException($"--eta {eta}: expected 0 to 1");
        return new SamplingPlan("ddim", Descending(schedule, k =>
        {
            var alpha = schedule.AlphasCumprod[k];
            var target = schedule.AlphasCumprodPrev[k];
            var sigma = eta * Math.Sqrt((1 - target) / (1 - alpha)) * Math.Sqrt(1 - alpha / target);
            var direction = Math.Sqrt(Math.Max(0, 1 - target - sigma * sigma));
            var update = new UpdateCoefficients(
                Latent: (float)Math.Sqrt(target / alpha),
                Prediction: (float)(direction - Math.Sqrt(target * (1 / alpha - 1))),
                Sigma: (float)sigma);
            // The published loop draws whatever η is; diffusers only when η is not 0.
            return new SamplingStep(schedule.TimestepMap[k], update, DrawsNoise: !schedule.SinglePrecision || eta > 0);
        }));
    }

    /// <summary>DDPM (Ho et al. 2020, algorithm 2), on a respaced schedule (Nichol and Dhariwal 2021).</summary>
    /// <param name="schedule">The respaced schedule.</param>
    /// <param name="learnsVariance">
    /// Whether the model predicts the variance between the posterior's and β; else it is β, as the published code has it.
    /// </param>
    public static SamplingPlan Ddpm(NoiseSchedule schedule, bool learnsVariance) =>
        new("ddpm", Descending(schedule, k =>
        {
            var alpha = schedule.AlphasCumprod[k];
            var factorOfX0 = schedule.PosteriorMeanCoef1[k];
            var update = new UpdateCoefficients(
                Latent: (float)(factorOfX0 * Math.Sqrt(1 / alpha) + schedule.PosteriorMeanCoef2[k]),
                Prediction: (float)(-factorOfX0 * Math.Sqrt(1 / alpha - 1)));
            // The last step adds no noise.
            if (k > 0)
            {
                update = learnsVariance
                    ? update with
                    {
                        LearnedVariance = true,
                        MinLogVariance = (float)schedule.PosteriorLogVarianceClipped[k],
                        MaxLogVariance = (float)Math.Log(schedule.Betas[k]),
                    }
                    : update with { Sigma = (float)Math.Sqrt(schedule.Betas[k]) };
            }

            return new SamplingStep(schedule.TimestepMap[k], update, DrawsNoise: !schedule.SinglePrecision || k > 0);
        }));

    private static SamplingStep[] Descending(NoiseSchedule schedule, Func<int, SamplingStep> step)
    {
        var steps = new SamplingStep[schedule.TimestepMap.Length];
        for (var k = 0; k < steps.Length; k++) steps[^(k + 1)] = step(k);
        return steps;
    }
}
