using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;

namespace DiTRuntime.Tests.Models.Scheduling;

/// <summary>What callers of a scheduler can rely on.</summary>
[TestFixture]
internal sealed class ImageSchedulerTests
{
    [Test]
    public void Images_have_the_bits_they_have_alone_whatever_the_callers_do([Values(2, 5, 16)] int maxBatch)
    {
        using var scene = new SchedulerScene(new SchedulerOptions { MaxBatch = maxBatch, ModulationBytes = 60 * ModulationTable.RowBytes(TinyConfig()) });
        var kept = new System.Collections.Concurrent.ConcurrentBag<Generation>();
        Parallel.For(0, 6, caller =>
        {
            var random = new Random(caller);
            for (var i = 0; i < 6; i++)
            {
                var request = SchedulerScene.Request(
                    random.Next(4), (ulong)random.Next(9), random.Next(1, 5), random.Next(1, 7), random.Next(2) == 0 ? "ddim" : "ddpm", random.Next(3) == 0 ? 1 : 2.5);
                var generation = scene.Scheduler.Submit(request);
                if (random.Next(4) > 0) kept.Add(generation);
                else
                {
                    Thread.Sleep(random.Next(3));
                    generation.Cancel();
                }
            }
        });
        Assert.That(kept, Has.Count.GreaterThan(15));
        foreach (var generation in kept) scene.AssertAsAlone(generation);
        Assert.That(SpinWait.SpinUntil(() => scene.Scheduler.Load is { QueuedRequests: 0, RunningRequests: 0, RunningImages: 0 }, TimeSpan.FromSeconds(10)));
    }

    [Test]
    public void A_small_request_overtakes_a_large_one()
    {
        using var scene = new SchedulerScene();
        var large = scene.SubmitHeld(SchedulerScene.Request(1, 1, images: 8, steps: 6));
        var small = scene.Scheduler.Submit(SchedulerScene.Request(2, 2));
        scene.Release();
        scene.AssertAsAlone(small);
        scene.AssertAsAlone(large);
        Assert.That(small.Ended < large.Ended);
    }

    [Test]
    public void A_large_request_is_not_starved_by_small_ones([Values(2, 6)] int maxBatch)
    {
        using var scene = new SchedulerScene(new SchedulerOptions { MaxBatch = maxBatch });
        var large = scene.SubmitHeld(SchedulerScene.Request(1, 1, images: 3, steps: 4));
        var count = 0;
        void SubmitNext()
        {
            if (large.Completion.IsCompleted || ++count > 1000) return;
            _ = scene.Scheduler.Submit(SchedulerScene.Request(2, (ulong)count, steps: 2)).Completion.ContinueWith(_ => SubmitNext(), TaskContinuationOptions.ExecuteSynchronously);
        }

        for (var i = 0; i < 4; i++) SubmitNext();
        scene.Release();
        scene.AssertAsAlone(large);
        // One of its three images moves in every eighth step at least: some hundred steps, which four small ones of two steps share.
        Assert.That(count, Is.LessThan(500));
    }

    [Test]
    public void A_full_queue_refuses_until_one_leaves_it()
    {
        using var scene = new SchedulerScene(new SchedulerOptions { MaxQueue = 2, MaxBatch = 6 });
        var running = scene.SubmitHeld(SchedulerScene.Request(1, 1));
        Generation first = scene.Scheduler.Submit(SchedulerScene.Request(2, 2)), second = scene.Scheduler.Submit(SchedulerScene.Request(3, 3));
        Assert.That((running.Snapshot().QueuePosition, first.Snapshot().QueuePosition, second.Snapshot().QueuePosition), Is.EqualTo((0, 0, 1)));
        Assert.That(() => scene.Scheduler.Submit(SchedulerScene.Request(1, 4)), Throws.InstanceOf<QueueFullException>().With.Property("RetryAfter").GreaterThanOrEqualTo(TimeSpan.FromSeconds(1)));
        var version = second.Snapshot().Version;
        Assert.That(first.Cancel());
        Assert.That((second.Snapshot().QueuePosition, second.Snapshot().Version > version), Is.EqualTo((0, true)), "it has moved up");
        var third = scene.Scheduler.Submit(SchedulerScene.Request(1, 4));
        scene.Release();
        foreach (var generation in new[] { running, second, third }) scene.AssertAsAlone(generation);
        Assert.That(first.Completion.IsCanceled);
    }

    [Test]
    public void Cancelling_ends_what_waits_and_what_runs_and_nothing_that_has_ended()
    {
        using var scene = new SchedulerScene();
        var running = scene.SubmitHeld(SchedulerScene.Request(1, 1, images: 2, steps: 100));
        var waiting = scene.Scheduler.Submit(SchedulerScene.Request(2, 2, images: 9, steps: 200));
        var other = scene.Scheduler.Submit(SchedulerScene.Request(3, 3));
        Assert.That((waiting.Cancel(), running.Cancel(), running.Cancel()), Is.EqualTo((true, true, false)));
        Assert.That((waiting.Snapshot().Status, running.Snapshot().Status), Is.EqualTo((GenerationStatus.Cancelled, GenerationStatus.Cancelled)));
        scene.Release();
        scene.AssertAsAlone(other);
        Assert.That(SpinWait.SpinUntil(() => scene.Scheduler.Load.RunningImages == 0, TimeSpan.FromSeconds(10)), "their rows are free");
        Assert.That((other.Cancel(), other.Snapshot().Status), Is.EqualTo((false, GenerationStatus.Completed)));
        Assert.That(running.Snapshot().StepsDone, Is.LessThan(10));
    }

    [Test]
    public async Task Draining_finishes_what_was_accepted_and_refuses_the_rest()
    {
        using var scene = new SchedulerScene();
        var running = scene.SubmitHeld(SchedulerScene.Request(1, 1));
        var waiting = scene.Scheduler.Submit(SchedulerScene.Request(2, 2, images: 4));
        var drained = scene.Scheduler.DrainAsync();
        Assert.That(() => scene.Scheduler.Submit(SchedulerScene.Request(1, 1)), Throws.InstanceOf<SchedulerClosedException>());
        Assert.That(drained.IsCompleted, Is.False);
        scene.Release();
        await drained.WaitAsync(TimeSpan.FromSeconds(30));
        scene.AssertAsAlone(running);
        scene.AssertAsAlone(waiting);
    }

    [Test]
    public void Progress_counts_every_step_and_previews_are_the_latents_of_their_step()
    {
        using var scene = new SchedulerScene();
        var request = SchedulerScene.Request(1, 7, images: 2, steps: 6, sampler: "ddpm");
        scene.Hold();
        var generation = scene.Scheduler.Submit(request);
        generation.PreviewInterval = 2;
        Assert.That(generation.Preview(0), Is.Null);
        scene.Release();
        var (seen, previewed) = (new List<GenerationSnapshot> { generation.Snapshot() }, new HashSet<int>());
        while (seen[^1].Status is GenerationStatus.Queued or GenerationStatus.Running)
        {
            seen.Add(generation.NextAsync(seen[^1].Version, default).GetAwaiter().GetResult());
            if (generation.Preview(1) is not { } preview) continue;
            previewed.Add(preview.StepsDone);
            Assert.That(preview.Latent, Is.EqualTo(scene.Alone(request, 1, preview.StepsDone)));
        }

        Assert.That(seen.Select(snapshot => snapshot.Version), Is.Ordered.And.Unique);
        Assert.That(seen.Select(snapshot => snapshot.StepsDone), Is.Ordered);
        Assert.That(seen[^1], Is.EqualTo(new GenerationSnapshot(seen[^1].Version, GenerationStatus.Completed, 0, 12, 12, 2, 0)));
        Assert.That(previewed, Is.SubsetOf(new[] { 2, 4 }).And.Not.Empty);
        Assert.That((generation.Created <= generation.Started, generation.Started <= generation.Ended), Is.EqualTo((true, true)));
        scene.AssertAsAlone(generation);
    }

    [Test]
    public void Latents_to_start_from_are_used_and_the_noise_of_the_steps_stays()
    {
        using var scene = new SchedulerScene();
        var request = SchedulerScene.Request(1, 7, images: 2, sampler: "ddpm") with { Seeds = [4, 99], InitialLatents = new float[2 * scene.Config.LatentCount] };
        scene.AssertAsAlone(scene.Scheduler.Submit(request));
    }

    [Test]
    public async Task Awaiting_reports_progress_and_stops_with_its_token()
    {
        using var scene = new SchedulerScene();
        var reports = new List<StepProgress>();
        var request = SchedulerScene.Request(1, 3, images: 2);
        var images = await scene.Scheduler.GenerateAsync(request, new Recorder(reports));
        Assert.That(images.Select(image => image.Latent), Is.EqualTo(new[] { scene.Alone(request, 0), scene.Alone(request, 1) }));
        Assert.That(reports[^1], Is.EqualTo(new StepProgress(8, 8, 2, 2)));
        Assert.That(reports.Select(report => report.StepsDone), Is.Ordered);

        using var cancellation = new CancellationTokenSource();
        scene.Hold();
        var cancelled = scene.Scheduler.GenerateAsync(request with { Sampler = new SamplerOptions { Steps = 100 } }, null, cancellation.Token);
        await cancellation.CancelAsync();
        scene.Release();
        Assert.That(async () => await cancelled, Throws.InstanceOf<OperationCanceledException>().With.Property("CancellationToken").EqualTo(cancellation.Token));
    }

    [TestCase("0 images: expected 1 to 10", 0, 4, 3.0, "ddim")]
    [TestCase("11 images: expected 1 to 10", 11, 4, 3.0, "ddim")]
    [TestCase("guidance scale", 1, 4, -1.0, "ddim")]
    [TestCase("expected 1 to 1000", 1, 0, 3.0, "ddim")]
    [TestCase("expected ddim or ddpm", 1, 4, 3.0, "euler")]
    public void Requests_that_cannot_be_are_refused_at_once(string message, int images, int steps, double scale, string sampler)
    {
        using var scene = new SchedulerScene();
        Assert.That(() => scene.Scheduler.Submit(SchedulerScene.Request(1, 1, images, steps, sampler, scale)), Throws.InstanceOf<UsageException>().With.Message.Contains(message));
    }

    [Test]
    public void Requests_that_do_not_fit_the_model_are_refused_at_once()
    {
        using var scene = new SchedulerScene(new SchedulerOptions { ModulationBytes = 30 * ModulationTable.RowBytes(TinyConfig()) });
        var request = SchedulerScene.Request(1, 1);
        void Refuses(GenerationRequest wrong, string message) => Assert.That(() => scene.Scheduler.Submit(wrong), Throws.InstanceOf<UsageException>().With.Message.Contains(message));
        Refuses(request with { Labels = [scene.Config.ClassCount] }, "does not exist");
        Refuses(request with { Decodes = true }, "no decoder");
        Refuses(request with { Seeds = [1, 2] }, "2 seeds for 1 images");
        Refuses(request with { InitialLatents = new float[5] }, "latents of 5 values");
        Refuses(request with { InitialLatents = Enumerable.Repeat(float.NaN, scene.Config.LatentCount).ToArray() }, "not a number");
        Refuses(SchedulerScene.Request(1, 1, steps: 16), "32 rows of the modulation table, which has 30");
        scene.AssertAsAlone(scene.Scheduler.Submit(SchedulerScene.Request(1, 1, steps: 30, scale: 1)));
    }

    private static DiTConfig TinyConfig()
    {
        using var tiny = new TinyModel(DiTRuntime.Backends.Cpu.CpuBackend.Create(new DiTRuntime.Backends.Cpu.CpuOptions(1)));
        return tiny.Model.Config;
    }

    private sealed class Recorder(List<StepProgress> reports) : IProgress<StepProgress>
    {
        public void Report(StepProgress value) => reports.Add(value);
    }
}
