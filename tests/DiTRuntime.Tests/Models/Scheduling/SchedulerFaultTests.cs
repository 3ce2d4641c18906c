using DiTRuntime.Cuda.Devices;
using DiTRuntime.Decoding;
using DiTRuntime.Models.Scheduling;

namespace DiTRuntime.Tests.Models.Scheduling;

/// <summary>Backends and decoders that throw under a scheduler: one request is lost at most.</summary>
[TestFixture]
internal sealed class SchedulerFaultTests
{
    [Test]
    public void A_step_that_throws_for_one_image_fails_its_request_and_the_others_stay_exact()
    {
        var counts = new Counts();
        using var scene = new SchedulerScene(observer: counts);
        var good = scene.SubmitHeld(SchedulerScene.Request(1, 1, images: 2, steps: 6));
        // Without guidance: its images are those whose latent is read once in a pass.
        var bad = scene.Scheduler.Submit(SchedulerScene.Request(2, 2, images: 2, steps: 6, scale: 1));
        var late = scene.Scheduler.Submit(SchedulerScene.Request(3, 3, steps: 8));
        scene.BeforePass = () =>
        {
            if (bad.Snapshot().StepsDone >= 2 && scene.Backend.Slots.CountBy(slot => slot).Any(slot => slot.Value == 1)) throw new InvalidOperationException("planted");
        };
        scene.Release();
        Assert.That(async () => await bad.Completion.WaitAsync(TimeSpan.FromSeconds(30)), Throws.InvalidOperationException.With.Message.EqualTo("planted"));
        scene.AssertAsAlone(good);
        scene.AssertAsAlone(late);
        Assert.That(bad.Snapshot().Status, Is.EqualTo(GenerationStatus.Failed));
        scene.AssertAsAlone(scene.Scheduler.Submit(SchedulerScene.Request(2, 2)));
        Assert.That((counts.Finished, counts.Failed, counts.Cancelled), Is.EqualTo((4, 1, 1)), "one image failed and took the other of its request along");
    }

    [Test]
    public void A_step_that_does_not_fit_into_memory_is_taken_in_smaller_ones()
    {
        using var scene = new SchedulerScene(new SchedulerOptions { MaxBatch = 8 });
        var refused = 0;
        scene.BeforePass = () =>
        {
            if (scene.Backend.Slots.Length == 1) return;
            refused++;
            throw new GpuOutOfMemoryException("planted");
        };
        scene.AssertAsAlone(scene.Scheduler.Submit(SchedulerScene.Request(1, 1, images: 6, scale: 1)));
        Assert.That((scene.Scheduler.Load.MaxBatch, refused > 0), Is.EqualTo((2, true)).Or.EqualTo((8, true)), "eight where steps of two are the largest that are worth it");
    }

    [Test]
    public void A_decoder_that_throws_fails_its_request_alone()
    {
        using var decoder = new PickyDecoder();
        using var scene = new SchedulerScene(decoder: decoder);
        Generation bad = scene.SubmitHeld(SchedulerScene.Request(1, 1, decodes: true)), good = scene.Scheduler.Submit(SchedulerScene.Request(2, 2, images: 2, decodes: true));
        decoder.Refused = scene.Alone(bad.Request, 0);
        scene.Release();
        Assert.That(async () => await bad.Completion.WaitAsync(TimeSpan.FromSeconds(30)), Throws.InvalidOperationException.With.Message.EqualTo("picky"));
        scene.AssertAsAlone(good);
        Assert.That(good.Completion.Result.Select(image => image.Pixels), Is.EqualTo(good.Completion.Result.Select(image => image.Latent[..192])));
    }

    [Test]
    public void Disposing_cancels_everything()
    {
        using var scene = new SchedulerScene();
        Generation running = scene.SubmitHeld(SchedulerScene.Request(1, 1, steps: 500)), waiting = scene.Scheduler.Submit(SchedulerScene.Request(1, 1));
        var disposed = scene.Scheduler.DisposeAsync().AsTask();
        scene.Release();
        Assert.That(disposed.Wait(TimeSpan.FromSeconds(30)));
        Assert.That((running.Completion.IsCanceled, waiting.Completion.IsCanceled), Is.EqualTo((true, true)));
        Assert.That(() => scene.Scheduler.Submit(SchedulerScene.Request(1, 1)), Throws.InstanceOf<SchedulerClosedException>());
    }

    private sealed class Counts : ISchedulerObserver
    {
        public int Finished { get; private set; }

        public int Failed { get; private set; }

        public int Cancelled { get; private set; }

        public void Queued(TimeSpan waited) => Assert.That(waited, Is.GreaterThanOrEqualTo(TimeSpan.Zero));

        public void StepTaken(TimeSpan duration, int rows) => Assert.That(rows, Is.Positive);

        public void ImageFinished() => Finished++;

        public void ImageFailed() => Failed++;

        public void ImageCancelled() => Cancelled++;
    }

    /// <summary>An image is the beginning of its latent; one latent is refused.</summary>
    private sealed class PickyDecoder : IImageDecoder
    {
        public float[] Refused { get; set; } = [];

        public string Description => "picky";

        public int LatentChannels => 4;

        public int ImageChannels => 3;

        public int UpscaleFactor => 1;

        public int TileSide { get; set; } = 64;

        public void Decode(ReadOnlySpan<float> latent, int height, int width, Span<float> pixels)
        {
            if (latent.SequenceEqual(Refused)) throw new InvalidOperationException("picky");
            latent[..pixels.Length].CopyTo(pixels);
        }

        public void Dispose()
        {
        }
    }
}
