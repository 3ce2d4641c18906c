using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Sampling;

internal sealed class SamplingPlanTests
{
    // A linear "model" and any noise: the plan must take x where the samplers' formulas, followed step by step, take it.
    private const double Slope = 0.8;
    private const double Fraction = 0.3;
    private static readonly double[] s_noise = [0.4, -1.2, 0.9, -0.3, 1.7, -0.8, 0.1, 0.6, -1.5, 1.1];

    [TestCase(0)]
    [TestCase(0.7)]
    [TestCase(1)]
    public void Ddim_follows_the_formula_step_by_step(double eta)
    {
        var schedule = TimestepSpacing.Linspace.Respace(NoiseSchedule.Linear(), 10);
        var expected = Follow(schedule, (x, epsilon, k, noise) =>
        {
            double a = schedule.AlphasCumprod[k], previous = k == 0 ? 1 : schedule.AlphasCumprod[k - 1];
            var x0 = Math.Sqrt(1 / a) * x - Math.Sqrt(1 / a - 1) * epsilon;
            var derived = (Math.Sqrt(1 / a) * x - x0) / Math.Sqrt(1 / a - 1);
            var sigma = eta * Math.Sqrt((1 - previous) / (1 - a)) * Math.Sqrt(1 - a / previous);
            var mean = x0 * Math.Sqrt(previous) + Math.Sqrt(1 - previous - sigma * sigma) * derived;
            return k == 0 ? mean : mean + sigma * noise;
        });
        AssertTrajectory(SamplingPlan.Ddim(schedule, eta), expected);
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Ddpm_follows_the_formula_step_by_step(bool learnsVariance)
    {
        var schedule = TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 10);
        var expected = Follow(schedule, (x, epsilon, k, noise) =>
        {
            double a = schedule.AlphasCumprod[k], previous = k == 0 ? 1 : schedule.AlphasCumprod[k - 1];
            var beta = 1 - a / previous;
            var x0 = Math.Sqrt(1 / a) * x - Math.Sqrt(1 / a - 1) * epsilon;
            var mean = beta * Math.Sqrt(previous) / (1 - a) * x0 + (1 - previous) * Math.Sqrt(1 - beta) / (1 - a) * x;
            if (k == 0) return mean;
            var lower = Math.Log(beta * (1 - previous) / (1 - a));
            var logVariance = learnsVariance ? Fraction * Math.Log(beta) + (1 - Fraction) * lower : Math.Log(beta);
            return mean + Math.Exp(0.5 * logVariance) * noise;
        });
        AssertTrajectory(SamplingPlan.Ddpm(schedule, learnsVariance), expected);
    }

    [Test]
    public void Steps_run_from_the_noisiest_timestep_down()
    {
        var plan = SamplingPlan.Ddim(TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 10), 0);
        Assert.That(plan.Steps.ToArray().Select(s => s.Timestep), Is.EqualTo(new[] { 900, 800, 700, 600, 500, 400, 300, 200, 100, 0 }));
    }

    [Test]
    public void The_last_step_adds_no_noise()
    {
        var schedule = TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 10);
        foreach (var plan in new[] { SamplingPlan.Ddim(schedule, 1), SamplingPlan.Ddpm(schedule, true), SamplingPlan.Ddpm(schedule, false) })
        {
            Assert.That(plan.NeedsNoise, Is.True);
            Assert.That(plan.Steps[^1].Update.NeedsNoise, Is.False);
            Assert.That(plan.Steps[^2].Update.NeedsNoise, Is.True);
        }

        Assert.That(SamplingPlan.Ddim(schedule, 0).NeedsNoise, Is.False);
        Assert.That(SamplingPlan.Ddpm(schedule, true).LearnedVariance, Is.True);
    }

    [Test]
    public void Noise_is_drawn_where_the_implementation_followed_draws_it()
    {
        var official = TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 10);
        var diffusers = TimestepSpacing.Leading.Respace(NoiseSchedule.LinearSingle(), 10);
        Assert.That(SamplingPlan.Ddim(official, 0).Steps.ToArray().All(s => s.DrawsNoise), Is.True);
        Assert.That(SamplingPlan.Ddpm(official, true).Steps.ToArray().All(s => s.DrawsNoise), Is.True);
        Assert.That(SamplingPlan.Ddim(diffusers, 0).Steps.ToArray().Any(s => s.DrawsNoise), Is.False);
        Assert.That(SamplingPlan.Ddim(diffusers, 0.5).Steps.ToArray().All(s => s.DrawsNoise), Is.True);
    }

    [Test]
    public void Every_coefficient_of_every_count_is_finite()
    {
        foreach (var schedule in new[] { NoiseSchedule.Linear(), NoiseSchedule.LinearSingle() })
        {
            foreach (var steps in new[] { 1, 2, 3, 7, 333, 999, 1000 })
            {
                var respaced = TimestepSpacing.Trailing.Respace(schedule, steps);
                foreach (var plan in new[] { SamplingPlan.Ddim(respaced, 1), SamplingPlan.Ddpm(respaced, true), SamplingPlan.Ddpm(respaced, false) })
                    foreach (var (_, update, _) in plan.Steps)
                        Assert.That(float.IsFinite(update.Latent + update.Prediction + update.Sigma + update.MinLogVariance + update.MaxLogVariance), $"{plan.Name} {steps}");
            }
        }
    }

    [TestCase(-0.1)]
    [TestCase(1.5)]
    [TestCase(double.NaN)]
    [TestCase(double.PositiveInfinity)]
    public void Eta_out_of_range_is_refused(double eta) =>
        Assert.That(() => SamplingPlan.Ddim(NoiseSchedule.Linear(), eta), Throws.TypeOf<UsageException>().With.Message.Contains("--eta"));

    [Test]
    public void Unknown_sampler_is_refused() =>
        Assert.That(() => SamplingPlan.Create("euler", NoiseSchedule.Linear(), 0, true),
            Throws.TypeOf<UsageException>().With.Message.EqualTo("--sampler euler: expected ddim or ddpm"));

    [Test]
    public void Eta_with_ddpm_is_refused() =>
        Assert.That(() => SamplingPlan.Create("ddpm", NoiseSchedule.Linear(), 0.5, true), Throws.TypeOf<UsageException>());

    private static double[] Follow(NoiseSchedule schedule, Func<double, double, int, double, double> step)
    {
        var trajectory = new List<double>();
        var x = 1.3;
        for (var k = schedule.TimestepMap.Length - 1; k >= 0; k--)
        {
            x = step(x, Slope * x, k, s_noise[trajectory.Count]);
            trajectory.Add(x);
        }

        return [.. trajectory];
    }

    private static void AssertTrajectory(SamplingPlan plan, double[] expected)
    {
        var x = 1.3;
        for (var i = 0; i < expected.Length; i++)
        {
            var update = plan.Steps[i].Update;
            var sigma = update.LearnedVariance
                ? Math.Exp(0.5 * (Fraction * update.MaxLogVariance + (1 - Fraction) * update.MinLogVariance))
                : update.Sigma;
            x = update.Latent * x + update.Prediction * (Slope * x) + sigma * s_noise[i];
            Assert.That(x, Is.EqualTo(expected[i]).Within(2e-6 * Math.Max(1, Math.Abs(expected[i]))), $"step {i}");
        }
    }
}
