using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;

namespace DiTRuntime.Tests.Models.Scheduling;

/// <summary>Who takes part in a step.</summary>
[TestFixture]
internal sealed class StepChooserTests
{
    private long _number;

    [Test]
    public void A_request_alone_fills_the_step()
    {
        var only = Request(images: 6);
        Assert.That(Choose(Linear(8), 8, only), Is.EqualTo(new[] { 4 }));
        Assert.That(Choose(Linear(8), 5, only), Is.EqualTo(new[] { 2 }), "half a guided image has no place");
    }

    [Test]
    public void On_a_processor_requests_of_a_size_go_one_after_another_and_large_ones_wait()
    {
        Generation large = Request(images: 10), small = Request(images: 1), other = Request(images: 1);
        Assert.That(Choose(Linear(16), 16, large, small, other), Is.EqualTo(new[] { 0, 1, 0 }));
    }

    [Test]
    public void Requests_of_a_size_share_a_step_that_makes_their_samples_cheaper()
    {
        Generation[] requests = [.. Enumerable.Range(0, 6).Select(_ => Request(images: 1))];
        Assert.That(Choose(Costs(8, samples => 0.002 + 0.001 * samples), 8, requests), Is.EqualTo(new[] { 1, 1, 1, 1, 0, 0 }));
        Assert.That(Choose(Costs(8, samples => 0.0001 + 0.001 * samples), 8, requests), Is.EqualTo(new[] { 1, 0, 0, 0, 0, 0 }));
    }

    [Test]
    public void On_a_gpu_that_is_idle_all_ride_along()
    {
        Generation large = Request(images: 10), small = Request(images: 1), other = Request(images: 4);
        Assert.That(Choose(Flat(16), 16, large, small, other), Is.EqualTo(new[] { 3, 1, 4 }));
        Assert.That(Choose(Flat(32), 32, large, small, other), Is.EqualTo(new[] { 10, 1, 4 }));
    }

    [Test]
    public void Others_ride_while_they_cost_a_quarter_at_most()
    {
        Generation large = Request(images: 10), small = Request(images: 1);
        // 20 ms and a half more for each sample: four ride with the first two.
        Assert.That(Choose(Costs(32, samples => 0.020 + 0.0011 * samples), 32, large, small), Is.EqualTo(new[] { 2, 1 }));
    }

    [Test]
    public void Size_counts_steps_and_samples()
    {
        Generation old = Request(images: 2, steps: 17), many = Request(images: 3, steps: 5), unguided = Request(images: 1, steps: 18, scale: 1);
        Assert.That(Choose(Flat(8), 8, old, many, unguided), Is.EqualTo(new[] { 0, 3, 1 }), "68, 30 and 18 samples to advance");
    }

    [TestCase(2, 1, 0)]
    [TestCase(16, 1, 1)]
    public void The_oldest_moves_in_every_eighth_step(int maxSamples, int oldest, int small)
    {
        Generation large = Request(images: 10), other = Request(images: 1);
        var chooser = new StepChooser(Linear(maxSamples));
        int[][] steps = [.. Enumerable.Range(0, 16).Select(_ => Choose(chooser, maxSamples, large, other))];
        var turns = Enumerable.Range(0, 16).Where(i => steps[i][0] > 0).ToArray();
        Assert.That(turns, Is.EqualTo(new[] { 7, 15 }));
        Assert.That((steps[7], steps[6]), Is.EqualTo((new[] { oldest, small }, new[] { 0, 1 })));
    }

    [Test]
    public void Costs_are_learned_and_filled_in_between()
    {
        var costs = new StepCosts(8);
        Assert.That((costs.Estimate(2), costs.Estimate(8)), Is.EqualTo((2.0, 8.0)), "in proportion where nothing is known");
        costs.Add(2, 0.010);
        costs.Add(6, 0.018);
        Assert.That(new[] { 1, 2, 4, 6, 8 }.Select(costs.Estimate), Is.EqualTo(new[] { 0.005, 0.010, 0.014, 0.018, 0.024 }).Within(1e-12));
        for (var i = 0; i < 100; i++) costs.Add(2, 0.020);
        Assert.That(costs.Estimate(2), Is.EqualTo(0.020).Within(1e-6));
        Assert.That(costs.SamplesPerSecond, Is.EqualTo(100).Within(1e-3));
    }

    [Test]
    public void Steps_are_as_large_as_makes_their_samples_cheap()
    {
        Assert.That(Linear(16).Worthwhile(), Is.EqualTo(2));
        Assert.That(Flat(16).Worthwhile(), Is.EqualTo(16));
        Assert.That(new StepCosts(16).Worthwhile(), Is.EqualTo(2));
        Assert.That(Costs(32, samples => 0.004 + 0.001 * samples).Worthwhile(), Is.EqualTo(23), "4/23 + 1 against 4/32 + 1");
    }

    private static StepCosts Linear(int maxSamples) => Costs(maxSamples, samples => 0.001 * samples);

    private static StepCosts Flat(int maxSamples) => Costs(maxSamples, _ => 0.001);

    private static StepCosts Costs(int maxSamples, Func<int, double> seconds)
    {
        var costs = new StepCosts(maxSamples);
        for (var samples = 1; samples <= maxSamples; samples++) costs.Add(samples, seconds(samples));
        return costs;
    }

    private static int[] Choose(StepCosts costs, int maxSamples, params Generation[] active) => Choose(new StepChooser(costs), maxSamples, active);

    /// <summary>Images of each request that take part.</summary>
    private static int[] Choose(StepChooser chooser, int maxSamples, params Generation[] active)
    {
        var chosen = new List<RollingImage>();
        chooser.Choose([.. active.Reverse()], maxSamples, (_, _) => true, chosen);
        Assert.That(chosen.Sum(image => image.SampleCount), Is.LessThanOrEqualTo(maxSamples));
        Assert.That(chosen, Is.Unique);
        return [.. active.Select(generation => chosen.Count(generation.Owns))];
    }

    private Generation Request(int images, int steps = 5, float scale = 4)
    {
        var plan = RollingScene.Plan("ddim", "linspace", steps);
        var request = new GenerationRequest { Labels = new int[images] };
        return new Generation(null!, new object(), request, [.. Enumerable.Range(0, images).Select(i => new RollingImage(0, (ulong)i, plan, scale, 3))], _number++);
    }
}
