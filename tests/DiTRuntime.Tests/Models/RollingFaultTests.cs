using DiTRuntime.Backends.Cpu;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Models;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Models;

/// <summary>Passes that throw: one image is lost at most, and the others keep their bits.</summary>
[TestFixture]
internal sealed class RollingFaultTests
{
    private HookedBackend _backend = null!;
    private TinyModel _tiny = null!;
    private RollingBatch _batch = null!;
    private RollingScene _scene = null!;
    private List<RollingImage> _images = null!;

    [SetUp]
    public void Open()
    {
        _backend = new HookedBackend(CpuBackend.Create(new CpuOptions(2)));
        _tiny = new TinyModel(_backend);
        _batch = new RollingBatch(_tiny.Model, new RollingLimits(10, 10));
        _scene = new RollingScene(_tiny.Model, 4);
        // With and without noise, guided and not.
        _images =
        [
            new(0, 1, RollingScene.Plan("ddpm", "linspace", 5), 4, 3),
            new(1, 2, RollingScene.Plan("ddim", "leading", 5), 1, 3),
            new(2, 3, RollingScene.Plan("ddim", "leading", 4, eta: 0.5), 2, 3),
            new(3, 4, RollingScene.Plan("ddpm", "leading", 6), 1, 3),
            new(4, 5, RollingScene.Plan("ddim", "linspace", 3), 3, 3),
        ];
        foreach (var image in _images) _batch.TryAdd(image);
    }

    [TearDown]
    public void Close()
    {
        _batch.Dispose();
        _tiny.Dispose();
        _backend.Dispose();
    }

    [Test]
    public void A_passing_failure_at_any_operation_loses_nothing(
        [Values("UploadNoise", "Replace", "PatchEmbed", "NormModulate", "Attention", "Linear", "FinishStep")] string operation, [Values(1, 2, 5)] int call)
    {
        var calls = 0;
        _backend.Before = name =>
        {
            if (name == operation && ++calls == call) throw new InvalidOperationException("planted");
        };
        Assert.That(Run(), Is.Empty);
        Assert.That(calls, Is.GreaterThan(call));
        foreach (var image in _images) _scene.AssertAsAlone(image);
    }

    [Test]
    public void Every_pass_may_fail_once()
    {
        var fails = false;
        _backend.Before = name =>
        {
            if (name == nameof(HookedBackend.PatchEmbed) && _backend.Slots.Distinct().Count() > 1 && (fails = !fails)) throw new InvalidOperationException("planted");
        };
        Assert.That(Run(), Is.Empty);
        foreach (var image in _images) _scene.AssertAsAlone(image);
    }

    [Test]
    public void An_image_that_breaks_every_pass_fails_alone([Range(0, 4)] int victim, [Values(0, 2)] int afterStep)
    {
        var planted = new InvalidOperationException("planted");
        var slot = _images[victim].Slot;
        _backend.Before = name =>
        {
            if (name == nameof(HookedBackend.FinishStep) && _images[victim].StepsTaken == afterStep && _backend.Slots.Contains(slot) && _images[victim].State == RollingState.Running) throw planted;
        };
        Assert.That(Run(), Is.EqualTo(new[] { _images[victim] }));
        Assert.That((_images[victim].Failure, _images[victim].StepsTaken, _images[victim].Latent), Is.EqualTo(((Exception)planted, afterStep, (float[]?)null)));
        foreach (var image in _images.Where((_, i) => i != victim)) _scene.AssertAsAlone(image);
        Assert.That(_batch.FreeCount, Is.EqualTo(10));
    }

    [Test]
    public void A_backend_that_always_fails_fails_every_image_and_serves_again_when_it_recovers()
    {
        _backend.Before = name =>
        {
            if (name == nameof(HookedBackend.Attention)) throw new InvalidOperationException("planted");
        };
        Assert.That(_batch.Step(), Is.EquivalentTo(_images));
        Assert.That(_images.Select(image => image.State), Is.All.EqualTo(RollingState.Failed));
        Assert.That((_batch.FreeCount, _batch.Images.Count), Is.EqualTo((10, 0)));

        _backend.Before = null;
        Assert.That(_scene.Run(_batch, 6), Is.GreaterThan(3));
    }

    [Test]
    public void A_pass_that_does_not_fit_into_memory_is_taken_in_smaller_ones_from_then_on()
    {
        var largest = 0;
        _backend.Before = name =>
        {
            if (name != nameof(HookedBackend.Attention)) return;
            if (_backend.Slots.Length > 4) throw new GpuOutOfMemoryException("planted");
            largest = Math.Max(largest, _backend.Slots.Length);
        };
        _batch.Step();
        // Eight samples do not fit, four do: two and one, one and two, two. Nothing larger is tried again.
        Assert.That((_batch.SampleLimit, largest), Is.EqualTo((4, 3)));
        _backend.Before = name => Assert.That(_backend.Slots.Length, Is.LessThanOrEqualTo(name == nameof(HookedBackend.Attention) ? 4 : 10));
        Assert.That(Run(), Is.Empty);
        foreach (var image in _images) _scene.AssertAsAlone(image);
    }

    [Test]
    public void A_cancelled_pass_loses_its_images_and_the_batch_goes_on()
    {
        using var cancellation = new CancellationTokenSource();
        _batch.Step();
        _backend.Before = name =>
        {
            if (name != nameof(HookedBackend.FinishStep)) return;
            _backend.Cancellation = cancellation.Token;
            cancellation.Cancel();
        };
        Assert.That(_batch.Step(), Is.EquivalentTo(_images));
        Assert.That(_images.Select(image => image.Failure), Is.All.InstanceOf<OperationCanceledException>());
        _backend.Before = null;
        _backend.Cancellation = default;
        Assert.That(_scene.Run(_batch, 6), Is.GreaterThan(3));
    }

    [Test]
    public void An_image_whose_rows_cannot_be_computed_does_not_join()
    {
        _backend.Before = name =>
        {
            if (name == nameof(HookedBackend.Condition)) throw new InvalidOperationException("planted");
        };
        var image = new RollingImage(5, 1, RollingScene.Plan("ddim", "leading", 3), 1, 3);
        Assert.That(() => _batch.TryAdd(image), Throws.InvalidOperationException.With.Message.EqualTo("planted"));
        Assert.That((image.State, _batch.FreeCount), Is.EqualTo((RollingState.Waiting, 5)));
        _backend.Before = null;
        Assert.That(_batch.TryAdd(image));
        Assert.That(Run(), Is.Empty);
        foreach (var each in _images.Append(image)) _scene.AssertAsAlone(each);
    }

    /// <summary>Takes steps until all have gone.</summary>
    /// <returns>Those that failed.</returns>
    private List<RollingImage> Run()
    {
        var failed = new List<RollingImage>();
        while (_batch.Images.Count > 0) failed.AddRange(_batch.Step().Where(image => image.State == RollingState.Failed));
        // What an image is alone is found out on a backend that works.
        _backend.Before = null;
        return failed;
    }
}
