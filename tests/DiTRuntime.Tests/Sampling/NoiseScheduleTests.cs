using System.Text.Json;
using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Sampling;

internal sealed class NoiseScheduleTests
{
    private static readonly JsonElement s_golden =
        JsonDocument.Parse(File.ReadAllBytes(TestFiles.Golden("schedules.json"))).RootElement;

    private static IEnumerable<string> Names => s_golden.EnumerateObject().Select(p => p.Name);

    [TestCaseSource(nameof(Names))]
    public void Matches_the_published_tables(string name)
    {
        var golden = s_golden.GetProperty(name);
        var schedule = Respaced(name);
        var count = schedule.TimestepMap.Length;
        Assert.That(schedule.TimestepMap.ToArray(), Is.EqualTo(golden.GetProperty("timestep_map").EnumerateArray().Select(e => e.GetInt32())));
        Assert.Multiple(() =>
        {
            AssertClose(schedule.Betas[..3], golden.GetProperty("betas_first"));
            AssertClose(schedule.Betas[^3..], golden.GetProperty("betas_last"));
            AssertClose(schedule.AlphasCumprod[^1..], golden.GetProperty("alphas_cumprod_last"));
            AssertClose(schedule.AlphasCumprod.Slice(count / 2, 1), golden.GetProperty("alphas_cumprod_mid"));
            AssertClose(schedule.PosteriorLogVarianceClipped[..3], golden.GetProperty("posterior_log_variance_clipped_first"));
            AssertClose(schedule.PosteriorMeanCoef1.Slice(count / 2, 1), golden.GetProperty("posterior_mean_coef1_mid"));
            AssertClose(schedule.PosteriorMeanCoef2.Slice(count / 2, 1), golden.GetProperty("posterior_mean_coef2_mid"));
        });
    }

    [Test]
    public void Steps_arrive_at_the_next_lower_entry_and_finally_at_no_noise()
    {
        var schedule = NoiseSchedule.Linear().Respace([3, 500, 999]);
        var full = NoiseSchedule.Linear();
        Assert.That(schedule.AlphasCumprodPrev.ToArray(), Is.EqualTo(new[] { 1, full.AlphasCumprod[3], full.AlphasCumprod[500] }));
    }

    [Test]
    public void Diffusers_steps_arrive_a_fixed_stride_below()
    {
        // 1000/7 does not divide: the last step of diffusers' trailing spacing arrives at timestep 0, not at no noise.
        var full = NoiseSchedule.LinearSingle();
        var schedule = TimestepSpacing.Trailing.Respace(full, 7);
        Assert.That(schedule.TimestepMap[0], Is.EqualTo(142));
        Assert.That(schedule.AlphasCumprodPrev[0], Is.EqualTo(full.AlphasCumprod[0]));
        Assert.That(TimestepSpacing.Leading.Respace(full, 50).AlphasCumprodPrev[0], Is.EqualTo(1));
    }

    [Test]
    public void Single_precision_reading_is_near_the_double_one_and_rounded()
    {
        var (single, full) = (NoiseSchedule.LinearSingle(), NoiseSchedule.Linear());
        for (var t = 0; t < NoiseSchedule.TrainingSteps; t++)
        {
            Assert.That(single.AlphasCumprod[t], Is.EqualTo(full.AlphasCumprod[t]).Within(1e-4).Percent);
            Assert.That((double)(float)single.AlphasCumprod[t], Is.EqualTo(single.AlphasCumprod[t]));
        }
    }

    [TestCase]
    [TestCase(5, 5)]
    [TestCase(5, 4)]
    [TestCase(-1)]
    [TestCase(1000)]
    public void Timesteps_that_do_not_ascend_within_range_are_refused(params int[] timesteps) =>
        Assert.That(() => NoiseSchedule.Linear().Respace(timesteps), Throws.ArgumentException);

    [Test]
    public void A_single_step_has_finite_tables()
    {
        var schedule = NoiseSchedule.Linear().Respace([0]);
        Assert.That(schedule.PosteriorLogVarianceClipped[0], Is.EqualTo(Math.Log(schedule.Betas[0])));
    }

    private static NoiseSchedule Respaced(string name)
    {
        var full = NoiseSchedule.Linear();
        if (name == "full") return full;
        if (name.StartsWith("ddim", StringComparison.Ordinal)) return TimestepSpacing.Leading.Respace(full, int.Parse(name[4..]));
        if (!name.Contains(',', StringComparison.Ordinal)) return TimestepSpacing.Linspace.Respace(full, int.Parse(name));
        var sections = TimestepSpacing.Parse(name);
        return sections.Respace(full, sections.FixedCount!.Value);
    }

    private static void AssertClose(ReadOnlySpan<double> actual, JsonElement expected)
    {
        double[] values = expected.ValueKind == JsonValueKind.Array ? [.. expected.EnumerateArray().Select(e => e.GetDouble())] : [expected.GetDouble()];
        Assert.That(actual.ToArray(), Is.EqualTo(values).Within(1e-12));
    }
}
