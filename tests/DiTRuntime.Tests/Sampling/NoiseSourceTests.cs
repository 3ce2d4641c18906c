using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Sampling;

internal sealed class NoiseSourceTests
{
    private const int Length = 4 * 5 * 5;
    private static readonly SamplingStep s_noisy = new(500, new UpdateCoefficients(1, 1, 0.5f), DrawsNoise: true);
    private static readonly SamplingStep s_unused = new(0, new UpdateCoefficients(1, 1), DrawsNoise: true);
    private static readonly SamplingStep s_silent = new(0, new UpdateCoefficients(1, 1), DrawsNoise: false);

    [Test]
    public void Image_noise_does_not_depend_on_the_batch()
    {
        var together = Run(new ImageNoise(10), [4, 5, 7], s_noisy, s_unused, s_noisy);
        var alone = Run(new ImageNoise(10), [7], s_noisy, s_unused, s_noisy);
        Assert.That(alone.Latents, Is.EqualTo(together.Latents[(2 * Length)..]));
        Assert.That(alone.Noise[0], Is.EqualTo(together.Noise[0][(2 * Length)..]));
        Assert.That(alone.Noise[2], Is.EqualTo(together.Noise[2][(2 * Length)..]));
    }

    [Test]
    public void Image_noise_draws_latent_then_steps_from_the_seed_plus_the_index()
    {
        var (latents, noise) = Run(new ImageNoise(10), [7], s_noisy, s_unused, s_noisy);
        var generator = new TorchGenerator(17);
        Assert.That(latents, Is.EqualTo(Draw(generator, Length)));
        Assert.That(noise[0], Is.EqualTo(Draw(generator, Length)));
        Assert.That(noise[2], Is.EqualTo(Draw(generator, Length)), "a step without noise draws none");
    }

    [Test]
    public void Image_seeds_wrap_around()
    {
        var (latents, _) = Run(new ImageNoise(ulong.MaxValue), [3]);
        Assert.That(latents, Is.EqualTo(Draw(new TorchGenerator(2), Length)));
    }

    [TestCase(false)]
    [TestCase(true)]
    public void Batch_noise_draws_as_the_published_scripts(bool guided)
    {
        var source = new BatchNoise(3, guided);
        var first = Run(source, [0, 1], s_noisy, s_unused);
        var second = Run(source, [2, 3], s_noisy);

        var generator = new TorchGenerator(3);
        var rowLength = (guided ? 2 : 1) * 2 * Length;
        Assert.That(first.Latents, Is.EqualTo(Draw(generator, 2 * Length)));
        Assert.That(first.Noise[0], Is.EqualTo(Draw(generator, rowLength)[..(2 * Length)]));
        Draw(generator, rowLength);
        Assert.That(second.Latents, Is.EqualTo(Draw(generator, 2 * Length)), "an unused draw still advances the stream");
        Assert.That(second.Noise[0], Is.EqualTo(Draw(generator, rowLength)[..(2 * Length)]));
    }

    [Test]
    public void Batch_noise_stays_where_no_draw_is_due()
    {
        var source = new BatchNoise(3, guided: true);
        Run(source, [0], s_silent);
        var generator = new TorchGenerator(3);
        Draw(generator, Length);
        Assert.That(Run(source, [1]).Latents, Is.EqualTo(Draw(generator, Length)));
    }

    [Test]
    public void Given_latents_leave_the_steps_noise_as_it_was()
    {
        var made = Run(new ImageNoise(1), [0, 1], s_noisy);
        var again = Run(new GivenNoise(made.Latents, new ImageNoise(1)), [1], s_noisy);
        Assert.That(again.Latents, Is.EqualTo(made.Latents[Length..]));
        Assert.That(again.Noise[0], Is.EqualTo(made.Noise[0][Length..]));
    }

    [Test]
    public void Given_steps_are_replayed_by_image_and_in_order()
    {
        var latents = Ramp(2 * Length, 0);
        var steps = Ramp(3 * 2 * Length, 1000);
        var source = new GivenNoise(latents, steps);
        for (var repeat = 0; repeat < 2; repeat++)
        {
            var (given, noise) = Run(source, [1], s_noisy, s_unused, s_noisy);
            Assert.That(given, Is.EqualTo(latents[Length..]));
            Assert.That(noise[0], Is.EqualTo(steps[Length..(2 * Length)]));
            Assert.That(noise[2], Is.EqualTo(steps[(5 * Length)..]));
        }
    }

    [Test]
    public void Images_and_steps_beyond_what_was_given_are_refused()
    {
        var source = new GivenNoise(new float[Length], new float[Length]);
        Assert.That(() => Run(source, [1]), Throws.ArgumentException);
        Assert.That(() => Run(source, [0], s_noisy, s_noisy), Throws.ArgumentException);
    }

    [Test]
    public void Steps_allocate_nothing()
    {
        var latents = new float[2 * Length];
        foreach (var source in new NoiseSource[] { new ImageNoise(1), new BatchNoise(1, true), new GivenNoise(latents, new float[80 * Length]) })
        {
            source.BeginBatch([0, 1], latents);
            source.FillStep(s_noisy, latents);
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < 20; i++) source.FillStep(s_noisy, latents);
            source.BeginBatch([0, 1], latents);
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero, source.GetType().Name);
        }
    }

    private static (float[] Latents, float[][] Noise) Run(NoiseSource source, int[] images, params SamplingStep[] steps)
    {
        var latents = new float[images.Length * Length];
        source.BeginBatch(images, latents);
        var noise = steps.Select(step =>
        {
            var values = new float[latents.Length];
            source.FillStep(step, values);
            return values;
        });
        return (latents, noise.ToArray());
    }

    private static float[] Draw(TorchGenerator generator, int count)
    {
        var values = new float[count];
        generator.Normal(values);
        return values;
    }

    private static float[] Ramp(int count, int start) => [.. Enumerable.Range(start, count).Select(i => (float)i)];
}
