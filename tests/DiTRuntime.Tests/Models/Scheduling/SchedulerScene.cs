using DiTRuntime.Backends.Cpu;
using DiTRuntime.Decoding;
using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;
using DiTRuntime.Sampling;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Models.Scheduling;

/// <summary>The golden model under a scheduler whose passes can be held and broken, and what its images are alone.</summary>
internal sealed class SchedulerScene : IDisposable
{
    private readonly TinyModel _tiny;
    private readonly TinyModel _alone = new(CpuBackend.Create(new CpuOptions(1)));
    private readonly ManualResetEventSlim _open = new(initialState: true);
    private readonly SemaphoreSlim _passes = new(0);

    public SchedulerScene(SchedulerOptions? options = null, IImageDecoder? decoder = null, ISchedulerObserver? observer = null)
    {
        Backend = new HookedBackend(CpuBackend.Create(new CpuOptions(2)))
        {
            Before = name =>
            {
                if (name != nameof(HookedBackend.PatchEmbed)) return;
                _passes.Release();
                _open.Wait();
                BeforePass?.Invoke();
            },
        };
        _tiny = new TinyModel(Backend);
        Scheduler = new ImageScheduler(_tiny.Model, decoder, options ?? new SchedulerOptions { MaxBatch = 6 }, observer);
    }

    public HookedBackend Backend { get; }

    public ImageScheduler Scheduler { get; }

    /// <summary>Called on the scheduler's thread before each pass of the model.</summary>
    public Action? BeforePass { get; set; }

    public DiTConfig Config => _tiny.Model.Config;

    public static GenerationRequest Request(int label, ulong seed, int images = 1, int steps = 4, string sampler = "ddim", double scale = 3, bool decodes = false) => new()
    {
        Labels = [.. Enumerable.Repeat(label, images)],
        Seed = seed,
        Sampler = new SamplerOptions { Sampler = sampler, Steps = steps, Spacing = "linspace" },
        GuidanceScale = scale,
        Decodes = decodes,
    };

    /// <summary>Stops before the next pass.</summary>
    public void Hold() => _open.Reset();

    /// <summary>Goes on.</summary>
    public void Release() => _open.Set();

    /// <summary>Submits a request and waits until a pass of it is held.</summary>
    public Generation SubmitHeld(GenerationRequest request)
    {
        Hold();
        var generation = Scheduler.Submit(request);
        while (_passes.Wait(0)) { }

        Assert.That(SpinWait.SpinUntil(() => generation.Snapshot().Status == GenerationStatus.Running, TimeSpan.FromSeconds(30)));
        return generation;
    }

    /// <summary>The latent of an image after some steps, made alone by <see cref="SamplingBatch"/>.</summary>
    public float[] Alone(GenerationRequest request, int image, int? afterSteps = null)
    {
        lock (_alone)
        {
            var plan = request.Sampler.CreatePlan(Config, Compatibility.Official);
            NoiseSource noise = new ImageNoise(request.SeedOf(image));
            if (!request.InitialLatents.IsEmpty) noise = new GivenNoise(request.InitialLatents.Slice(image * Config.LatentCount, Config.LatentCount), noise);
            using var batch = new SamplingBatch(_alone.Model, new SamplingSettings(plan, noise, (float)request.GuidanceScale, 3), [0], [request.Labels[image]]);
            for (var step = 0; step < (afterSteps ?? plan.Steps.Length); step++) batch.Step();
            var latent = new float[Config.LatentCount];
            batch.Read(latent);
            return latent;
        }
    }

    /// <summary>Waits for a request, and compares its images with themselves alone.</summary>
    public void AssertAsAlone(Generation generation)
    {
        var images = generation.Completion.WaitAsync(TimeSpan.FromSeconds(60)).GetAwaiter().GetResult();
        Assert.That(images, Has.Count.EqualTo(generation.Request.Labels.Count));
        for (var i = 0; i < images.Count; i++)
        {
            Assert.That((images[i].Index, images[i].Label), Is.EqualTo((i, generation.Request.Labels[i])));
            Assert.That(images[i].Latent.AsSpan().SequenceEqual(Alone(generation.Request, i)), $"image {i} of {generation.Request}");
        }
    }

    public void Dispose()
    {
        Release();
        Scheduler.DisposeAsync().AsTask().Wait();
        _tiny.Dispose();
        _alone.Dispose();
        Backend.Dispose();
        _open.Dispose();
        _passes.Dispose();
    }
}
