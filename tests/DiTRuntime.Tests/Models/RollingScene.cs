using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Models;

/// <summary>Random images for a rolling batch, random comings and goings, and what each image is when it is made alone.</summary>
internal sealed class RollingScene
{
    private readonly DiTModel _model;
    private readonly Random _random;
    private readonly SamplingPlan[] _plans;
    private readonly Dictionary<(int, ulong, SamplingPlan, float), float[]> _alone = [];

    /// <param name="model">The model.</param>
    /// <param name="seed">Of everything that is drawn here.</param>
    /// <param name="mostSteps">Steps of the longest plan, at least 3.</param>
    public RollingScene(DiTModel model, int seed, int mostSteps = 7)
    {
        _model = model;
        _random = new Random(seed);
        var learned = model.Config.LearnsVariance;
        _plans =
        [
            Plan("ddim", "leading", mostSteps, 0, learned),
            Plan("ddim", "linspace", 3, 0.6, learned),
            Plan("ddpm", "linspace", 3, 0, learned),
            Plan("ddpm", "leading", mostSteps, 0, learned),
            Plan("ddim", "trailing", 1, 0, learned),
        ];
    }

    /// <summary>A plan.</summary>
    public static SamplingPlan Plan(string sampler, string spacing, int steps, double eta = 0, bool learnsVariance = true) =>
        SamplingPlan.Create(sampler, TimestepSpacing.Parse(spacing).Respace(NoiseSchedule.Linear(), steps), eta, learnsVariance);

    /// <summary>Any image.</summary>
    public RollingImage Draw() => new(
        _random.Next(Math.Min(4, _model.Config.ClassCount)),
        (ulong)_random.Next(5),
        _plans[_random.Next(_plans.Length)],
        _random.Next(3) == 0 ? 1 : 1.5f + _random.Next(2),
        _random.Next(1, 5));

    /// <summary>The latent of an image that is made alone, by <see cref="SamplingBatch"/>.</summary>
    public float[] Alone(RollingImage image)
    {
        var key = (image.Label, image.Seed * 8 + (ulong)image.GuidedChannels, image.Plan, image.GuidanceScale);
        if (_alone.TryGetValue(key, out var known)) return known;
        var settings = new SamplingSettings(image.Plan, new ImageNoise(image.Seed), image.GuidanceScale, image.GuidedChannels);
        using var batch = new SamplingBatch(_model, settings, [0], [image.Label]);
        while (!batch.IsFinished) batch.Step();
        var latent = new float[_model.Config.LatentCount];
        batch.Read(latent);
        return _alone[key] = latent;
    }

    /// <summary>Lets images join, leave and take part in steps at random until all have gone; each that finishes is compared with itself alone.</summary>
    /// <returns>How many finished.</returns>
    public int Run(RollingBatch batch, int imageCount)
    {
        var waiting = new Queue<RollingImage>(Enumerable.Range(0, imageCount).Select(_ => Draw()));
        var finished = 0;
        while (waiting.Count > 0 || batch.Images.Count > 0)
        {
            for (var joining = _random.Next(4); joining > 0 && waiting.TryPeek(out var next) && batch.TryAdd(next); joining--) waiting.Dequeue();
            if (batch.Images.Count > 0 && _random.Next(8) == 0) batch.Remove(batch.Images[_random.Next(batch.Images.Count)]);
            var stepping = batch.Images.Where(_ => _random.Next(4) > 0).ToArray();
            foreach (var image in batch.Step(stepping))
            {
                AssertAsAlone(image);
                finished++;
            }
        }

        return finished;
    }

    public void AssertAsAlone(RollingImage image)
    {
        Assert.That(image.State, Is.EqualTo(RollingState.Finished), image.Failure?.ToString());
        Assert.That(
            image.Latent.AsSpan().SequenceEqual(Alone(image)),
            $"class {image.Label}, seed {image.Seed}, {image.Plan.Name} of {image.Plan.Steps.Length} steps, scale {image.GuidanceScale}");
    }
}
