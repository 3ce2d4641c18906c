using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Sampling;

internal sealed class TimestepSpacingTests
{
    [Test]
    public void Trailing_counts_down_from_the_last_timestep() =>
        Assert.That(TimestepSpacing.Trailing.Timesteps(4), Is.EqualTo(new[] { 249, 499, 749, 999 }));

    [Test]
    public void Trailing_rounds_halves_to_even() =>
        // 1000 − 1·62.5 = 937.5 → 938 and 1000 − 3·62.5 = 812.5 → 812, each less 1.
        Assert.That(TimestepSpacing.Trailing.Timesteps(16)[12..], Is.EqualTo(new[] { 811, 874, 937, 999 }));

    [Test]
    public void Linspace_rounds_halves_to_even() =>
        // 999/2 = 499.5 → 500, and 999/6 = 166.5 → 166.
        Assert.That(TimestepSpacing.Linspace.Timesteps(7), Is.EqualTo(new[] { 0, 166, 333, 500, 666, 832, 999 }));

    [Test]
    public void Sections_spread_the_remainder_over_the_first_ones() =>
        // 1000 = 334 + 333 + 333; one step of a section is its first timestep.
        Assert.That(TimestepSpacing.Parse("2, 1,0").Timesteps(3), Is.EqualTo(new[] { 0, 333, 334 }));

    [Test]
    public void Leading_under_diffusers_takes_any_count()
    {
        var timesteps = TimestepSpacing.Leading.Timesteps(30, diffusers: true);
        Assert.That(timesteps, Has.Length.EqualTo(30));
        Assert.That(timesteps[^1], Is.EqualTo(29 * 33));
    }

    [Test]
    public void Leading_names_the_nearest_possible_counts() =>
        Assert.That(() => TimestepSpacing.Leading.Timesteps(300),
            Throws.TypeOf<UsageException>().With.Message.Contains("nearest counts are 250 and 334"));

    [Test]
    public void Every_count_gives_ascending_timesteps_within_range()
    {
        foreach (var spacing in new[] { TimestepSpacing.Leading, TimestepSpacing.Linspace, TimestepSpacing.Trailing })
        {
            for (var steps = 1; steps <= 1000; steps++)
            {
                var timesteps = spacing.Timesteps(steps, diffusers: true);
                Assert.That(timesteps, Has.Length.EqualTo(steps).And.Ordered.And.Unique, $"{spacing.Name} {steps}");
                Assert.That(timesteps, Has.All.InRange(0, 999), $"{spacing.Name} {steps}");
            }
        }
    }

    [TestCase(0)]
    [TestCase(-5)]
    [TestCase(1001)]
    public void Counts_out_of_range_are_refused(int steps) =>
        Assert.That(() => TimestepSpacing.Linspace.Timesteps(steps), Throws.TypeOf<UsageException>().With.Message.Contains($"--steps {steps}"));

    [TestCase("cosine")]
    [TestCase("")]
    [TestCase("10,,20")]
    [TestCase("10,-1")]
    [TestCase("600,1")]
    [TestCase("0,0")]
    [TestCase("99999999999,1")]
    public void Spacings_that_make_no_sense_are_refused(string text) =>
        Assert.That(() => TimestepSpacing.Parse(text), Throws.TypeOf<UsageException>().With.Message.StartsWith($"--spacing {text}:"));

    [Test]
    public void Counts_that_contradict_the_sections_are_refused() =>
        Assert.That(() => TimestepSpacing.Parse("10,15,20").Timesteps(50), Throws.TypeOf<UsageException>().With.Message.Contains("45"));

    [TestCase("leading")]
    [TestCase("linspace")]
    [TestCase("trailing")]
    [TestCase("10,15,20")]
    public void Names_read_back(string text) => Assert.That(TimestepSpacing.Parse(text).Name, Is.EqualTo(text));
}
